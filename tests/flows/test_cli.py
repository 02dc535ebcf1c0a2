"""The command line as a stranger meets it: help, errors, exit codes, output, and how quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from arbitrage.infra.store.verify import verify_run

COMMANDS = ("run", "init", "check", "preview", "plan", "decide", "view", "verify", "explain")
COMMANDS += ("report", "list", "calibrate")
TRAINERS = ("trl", "verl", "axolotl", "llamafactory", "openrlhf")
FORMATS = ("arrow", "parquet", "jsonl")


# Help


def test_every_command_is_listed_with_its_exit_codes(arbitrage: Callable[..., Any]) -> None:
    said = arbitrage("--help")
    assert said.code == 0
    assert all(re.search(rf"^  {name} ", said.out, re.MULTILINE) for name in COMMANDS)
    for words in ("0 done", "2 bad input or config", "3 done with a shortfall", "130 interrupted"):
        assert words in " ".join(said.out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_an_example_that_the_parser_takes(
    arbitrage: Callable[..., Any], command: str
) -> None:
    said = arbitrage(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: arbitrage {command} ")
    example = " ".join(said.out.split()).partition("Example: arbitrage ")[2]
    assert example.startswith(command)
    given = example.partition(" Arguments:")[0].partition(" Options:")[0].split()
    import typer

    from arbitrage.flows.cli import app

    parsed = typer.main.get_command(app).commands[command]
    context = parsed.make_context(command, given[1:], resilient_parsing=True)
    assert context.params


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run"], ["run", "a.toml", "--bogus"]])
def test_wrong_usage_exits_with_2_and_no_traceback(
    arbitrage: Callable[..., Any], arguments: list[str]
) -> None:
    said = arbitrage(*arguments)
    assert said.code == 2
    assert "Error: " in said.err
    assert "Traceback" not in said.err


def test_the_version_is_printed(arbitrage: Callable[..., Any]) -> None:
    import arbitrage as package

    assert arbitrage("--version").out == f"arbitrage {package.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["list", "filters"]])
def test_looking_around_is_quick_and_quiet(run_configs: ModuleType, arguments: list[str]) -> None:
    """Neither Prefect nor datasets, torch or transformers is imported to answer; no warning."""
    code = (
        "import sys\nfrom arbitrage.flows.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'prefect', 'datasets', 'torch', 'transformers', 'pandas', 'sqlalchemy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=run_configs.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


# Before a run


def test_init_writes_a_config_that_is_valid_but_for_its_files(
    arbitrage: Callable[..., Any], in_folder: Path
) -> None:
    said = arbitrage("init", "-o", "mine.toml")
    assert said.code == 0
    assert "arbitrage check mine.toml" in said.out
    said = arbitrage("check", "mine.toml")
    assert said.out.startswith("ok    config: ")
    again = arbitrage("init", "-o", "mine.toml")
    assert again.code == 2
    assert "exists already" in again.complaint
    assert arbitrage("init", "-o", "no/such/folder/x.toml").code == 2


def test_check_says_one_line_a_part_and_writes_nothing(
    arbitrage: Callable[..., Any], toml: Path, tmp_path: Path
) -> None:
    said = arbitrage("check", toml, "--set", f"run.output={tmp_path}/new/runs")
    assert said.code == 0
    lines = said.out.splitlines()
    parts = [line[6:].partition(":")[0] for line in lines]
    teachers = ["teacher alpha", "teacher beta"]
    filters = [f"filter {name}" for name in ("language_id", "length", "lexical_diversity")]
    assert parts == [
        "config",
        "source",
        *teachers,
        "router",
        *filters,
        "runner",
        "rewards",
        "output",
    ]
    assert all(line.startswith("ok    ") for line in lines)
    assert list(tmp_path.iterdir()) == []
    findings = orjson.loads(arbitrage("check", toml, "--json").out)
    assert all(finding["ok"] for finding in findings)


def test_plan_counts_what_the_run_then_asks(
    arbitrage: Callable[..., Any], toml: Path, pristine: Path
) -> None:
    planned = orjson.loads(arbitrage("plan", toml, "--json").out)
    found = verify_run(pristine).to_json()
    assert planned["prompts"] == found["prompts"]
    assert planned["candidates"] == found["requested"]
    table = arbitrage("plan", toml).out
    assert "30 prompts, 0 unroutable" in table
    assert "…" not in table


def test_preview_shows_candidates_scores_and_choices_and_writes_nothing(
    arbitrage: Callable[..., Any], toml: Path, tmp_path: Path
) -> None:
    said = arbitrage("preview", toml, "-n", "10", "--set", f"run.output={tmp_path}/runs")
    assert said.code == 0
    for words in ("ar-0", "wanted zh", "alpha #2", "chosen", "rejected: language_id", "mtld"):
        assert words in said.out
    assert list(tmp_path.iterdir()) == []
    explained = orjson.loads(arbitrage("preview", toml, "-n", "2", "--json").out)
    assert [item["prompt_id"] for item in explained] == ["ar-0", "en-0"]
    assert len(explained[0]["candidates"]) == 6


@pytest.mark.parametrize("family", ["filters", "routers", "teachers", "views"])
def test_list_names_every_plugin_with_its_version(
    arbitrage: Callable[..., Any], family: str
) -> None:
    from arbitrage import registry

    identities = [entry.identity for entry in getattr(registry, family).entries()]
    said = arbitrage("list", family)
    assert all(identity in said.out for identity in identities)
    listed = orjson.loads(arbitrage("list", family, "--json").out)
    assert [f"{item['name']}@{item['version']}" for item in listed] == identities


# A run


def test_run_prints_the_table_how_to_load_and_the_folder_last(
    arbitrage: Callable[..., Any], prefect_server: None, toml: Path, tmp_path: Path
) -> None:
    said = arbitrage("run", toml, "--run-id", "mine", "--set", f"run.output={tmp_path}")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[-1] == str(tmp_path / "mine")
    head = lines[0].split()
    assert head == [
        "language",
        "teacher",
        "requested",
        "kept",
        "rejected",
        "failed",
        "why",
        "not",
        "kept",
    ]
    assert max(map(len, lines[:20])) <= 100
    assert lines[0].isascii()
    for name in ("sft", "preference"):
        assert f'{name} = load_from_disk("{tmp_path}/mine/views/{name}")' in said.out
    stages = said.err.splitlines()
    assert stages[0] == f"new run {tmp_path}/mine"
    assert stages[-1] == "finished"


def test_a_finished_run_is_returned_at_once(
    arbitrage: Callable[..., Any], toml: Path, finished: Path
) -> None:
    """Without Prefect: there is nothing to run."""
    where = f"run.output={finished.parent}"
    before = (finished / "manifest.json").stat().st_mtime_ns
    said = arbitrage("run", toml, "--run-id", "finished", "--set", where)
    assert said.code == 0
    assert said.err == f"this run is finished already: {finished}\n"
    assert said.out.splitlines()[-1] == str(finished)
    assert (finished / "manifest.json").stat().st_mtime_ns == before


def test_another_config_under_the_same_id_is_refused(
    arbitrage: Callable[..., Any], toml: Path, finished: Path
) -> None:
    where = f"run.output={finished.parent}"
    given = ("run", toml, "--run-id", "finished", "--set", where)
    said = arbitrage(*given, "--set", "run.seed=99")
    assert said.code == 2
    assert 'the run "finished" was made by another config' in said.complaint
    said = arbitrage(*given, "--new")
    assert said.code == 2
    assert "exists already" in said.complaint
    assert verify_run(finished).ok


@pytest.mark.usefixtures("prefect_server")
def test_an_unfinished_run_is_continued_unless_a_new_one_is_asked_for(
    arbitrage: Callable[..., Any],
    run_configs: ModuleType,
    small_data: dict[str, Any],
    toml: Path,
    tmp_path: Path,
) -> None:
    where = ("--set", f"run.output={tmp_path}")
    config = run_configs.parsed(small_data, run__output=str(tmp_path))
    run_configs.run_steps(config, "begun", upto="scored")
    said = arbitrage("run", toml, "--new", *where)
    assert said.code == 0
    assert said.err.startswith(f"new run {tmp_path}/small-")
    said = arbitrage("run", toml, *where)
    assert said.code == 0
    assert said.err.startswith(f"continuing the unfinished run {tmp_path}/begun\n")
    assert len(list(tmp_path.iterdir())) == 2
    assert verify_run(tmp_path / "begun").ok


# A finished run


def test_verify_prints_one_json_object_and_exits_0_or_4(
    arbitrage: Callable[..., Any], finished: Path
) -> None:
    keys = {"ok", "prompts", "unroutable", "requested", "candidates", "kept", "rejected", "failed"}
    keys |= {"duplicates", "missing", "shards"}
    said = arbitrage("verify", finished)
    assert said.code == 0
    assert keys <= set(orjson.loads(said.out))
    part = finished / "candidates" / "part-00003.arrow"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    said = arbitrage("verify", finished)
    assert (said.code, said.err) == (4, "")
    assert orjson.loads(said.out)["ok"] is False
    said = arbitrage("verify", finished.parent / "nowhere")
    assert said.code == 4
    assert keys <= set(orjson.loads(said.out))

"""Exact runs through the command line: N a language, a shortfall that is said, a kill -9."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from arbitrage.flows.cli import app
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.usefixtures("prefect_server")

PROMPTS, LANGUAGES = 60, 10


@pytest.fixture
def data(run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Three prompts a language; `alpha` answers in it, `beta` in Turkish."""
    changes = {"run.output": str(tmp_path / "runs"), "run.samples": 1, "select.exact": 2}
    changed: dict[str, Any] = run_configs.changed(small_data, changes)
    return changed


def run(configs: ModuleType, data: dict[str, Any], folder: Path, *more: str) -> tuple[Any, Path]:
    path = configs.write_toml(folder / "run.toml", data)
    done = CliRunner().invoke(app, ["run", str(path), "--run-id", "r", *more])
    return done, Path(data["run"]["output"]) / "r"


def test_n_of_each_language_and_nothing_asked_beyond(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    done, path = run(run_configs, data, tmp_path)
    assert done.exit_code == 0, done.output
    assert verify_run(path).problems == []
    manifest = open_run(path).manifest
    assert [row["chosen"] for row in manifest["limits"]] == [2] * LANGUAGES
    # Both teachers answer each prompt and one answer a prompt is chosen.
    assert manifest["totals"]["requested"] == 2 * 2 * LANGUAGES
    assert manifest["totals"]["prompts"] == 3 * LANGUAGES
    assert "Limits by language" in (path / "report.html").read_text(encoding="utf-8")
    assert open_run(path).view("sft").collect().height == 2 * LANGUAGES
    # A finished run returns at once, and planning says the least that is asked.
    again, _ = run(run_configs, data, tmp_path)
    assert again.exit_code == 0
    planned = CliRunner().invoke(app, ["plan", str(tmp_path / "run.toml")])
    assert "20 are wanted. At least 20 prompts" in " ".join(planned.output.split())


def test_what_fell_short_is_said_with_its_reason_and_exit_code_3(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    done, path = run(run_configs, data, tmp_path, "--set", "select.exact={tr=2,ar=5,ko=1}")
    assert done.exit_code == 3, done.output
    said = " ".join(done.output.split())
    assert "short: ar: 3 of 5 wanted; 3 of 3 prompts asked, none is left." in said
    assert "language_id.wrong_language 3" in said
    assert "short: tr" not in said
    assert verify_run(path).problems == []
    (short,) = [row for row in open_run(path).manifest["limits"] if row["short"]]
    assert (short["language"], short["short"]) == ("ar", 2)
    assert short["why"] == ["select.prompts_exhausted"]
    assert "select.prompts_exhausted" in (path / "report.html").read_text(encoding="utf-8")


def test_deciding_again_asks_nobody_and_says_what_it_lacks(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    _, path = run(run_configs, data, tmp_path)
    wanted = ["--set", "select.exact={ar=1,default=2,tr=3}", "--run-id", "again"]
    done = CliRunner().invoke(app, ["decide", str(path), *wanted])
    assert done.exit_code == 3, done.output
    assert "short: tr: 2 of 3 wanted; 2 of 3 prompts asked, deciding again" in done.output
    again = open_run(path.parent / "again")
    chosen = {row["language"]: row["chosen"] for row in again.manifest["limits"]}
    assert (chosen["ar"], chosen["tr"], chosen["zh"]) == (1, 2, 2)
    assert verify_run(again.path).problems == []
    done = CliRunner().invoke(app, ["decide", str(path), "--set", "select.exact=1", "--in-place"])
    assert done.exit_code == 0, done.output
    assert [row["chosen"] for row in open_run(path).manifest["limits"]] == [1] * LANGUAGES


@pytest.mark.parametrize("budget", ["requests=12", "tokens=250", "usd=0.1"])
def test_a_spent_budget_ends_it_and_is_the_reason(
    run_configs: ModuleType, stand_in: ModuleType, tmp_path: Path, budget: str
) -> None:
    with stand_in.StandIn(stand_in.Behaviour()) as server:
        data = run_configs.served_data(tmp_path, server.base_url, prompts=PROMPTS)
        data["select"] |= {"exact": 3}
        for teacher in data["teachers"]:
            teacher["cost_per_million_tokens"] = 1000
        more = ["--set", f"run.budget_{budget}", "--set", "run.max_failed_share=1"]
        done, path = run(run_configs, data, tmp_path, *more)
        assert done.exit_code == 3, done.output
        if budget.startswith("requests"):
            assert server.stats.requests == 12
        assert server.stats.requests < 30
    said = " ".join(done.output.split())
    assert f"run.budget_{budget.replace('=', ' = ')} is spent" in said
    assert "prompts asked, the budget is spent" in said
    found = verify_run(path)
    assert found.problems == []
    manifest = open_run(path).manifest
    assert manifest["totals"]["prompts"] == PROMPTS
    assert sum(row["chosen"] for row in manifest["limits"]) == manifest["totals"]["chosen"]
    assert {why for row in manifest["limits"] for why in row["why"]} == {"generate.budget_spent"}


def test_a_dead_teacher_is_a_reason_and_the_run_ends(
    run_configs: ModuleType, stand_in: ModuleType, tmp_path: Path
) -> None:
    """Its prompts fail, further ones are asked in their place, until there are no more."""
    with stand_in.StandIn(stand_in.Behaviour()) as server:
        data = run_configs.served_data(tmp_path, server.base_url, prompts=30)
        data["select"] |= {"exact": 3}
        lost = {**data["teachers"][0], "name": "lost", "base_url": "http://127.0.0.1:9/v1"}
        data["teachers"].append(lost | {"dead_after_s": 0.3, "max_retries": 100})
        data["router"] = {"kind": "uniform", "reroute": False}
        done, path = run(run_configs, data, tmp_path)
    assert done.exit_code == 3, done.output
    said = " ".join(done.output.split())
    assert "dead teacher: lost" in said
    assert "3 of 3 prompts asked, teachers are dead, none is left." in said
    assert verify_run(path).problems == []
    totals = open_run(path).manifest["totals"]
    assert totals["requested"] == 30 == totals["chosen"] + totals["failed"]


def test_after_kill_9_in_any_round_a_second_run_gives_the_same_rows(
    run_configs: ModuleType, stand_in: ModuleType, api_url: str, tmp_path: Path
) -> None:
    """Long answers are rejected, so that there are two rounds; killed once in each."""
    env = run_configs.environment(api_url)
    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.1)) as server:
        data = run_configs.served_data(tmp_path, server.base_url, prompts=PROMPTS)
        data["select"] |= {"exact": 4}
        data["filters"]["length"]["max_characters"] = 39
        quiet, quiet_path = run(run_configs, data, tmp_path)
        assert quiet.exit_code == 3, quiet.output
        asked = server.stats.requests
        data["run"]["output"] = str(tmp_path / "killed")
        toml = run_configs.write_toml(tmp_path / "killed.toml", data)
        command = ["run", toml, "--run-id", "r"]
        path = tmp_path / "killed" / "r"
        before = server.stats.requests
        for number in range(2):
            process = run_configs.start(command, tmp_path, env)
            staged = path / layout.staged("rounds", number, "json")
            run_configs.wait_until(staged.exists, process)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        code, _, err = run_configs.finish(run_configs.start(command, tmp_path, env))
        assert code == quiet.exit_code, err
        assert asked <= server.stats.requests - before <= asked + 2 * 2 * 4
    assert verify_run(path).problems == []
    assert run_configs.stable_rows(path) == run_configs.stable_rows(quiet_path)

"""The command line as a stranger meets it, continued: what later commands say of a run."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import orjson
import polars as pl
import pytest
from rich.console import Console

from arbitrage.flows.explanation import Explanation, show_prompt
from arbitrage.infra.store.verify import verify_run

TRAINERS = ("trl", "verl", "axolotl", "llamafactory", "openrlhf")
FORMATS = ("arrow", "parquet", "jsonl")


@pytest.mark.parametrize("prompt", ["ar-0", "th-1", "zh-2"])
def test_explain_shows_route_candidates_scores_and_why(
    arbitrage: Callable[..., Any], pristine: Path, prompt: str
) -> None:
    said = arbitrage("explain", pristine, prompt)
    assert said.code == 0
    for words in (prompt, "uniform@1", "propensity", "alpha #0", "beta #2", "rejected: ", "chosen"):
        assert words in said.out
    explained = orjson.loads(arbitrage("explain", pristine, prompt, "--json").out)
    assert len(explained["candidates"]) == 6


def test_a_label_that_names_nothing_is_none_and_one_that_was_not_looked_for_abstained() -> None:
    first = {"near_duplicate.similarity": None, "near_duplicate.exact": 0.0}
    measured = shown({**first, "near_duplicate.of": None})
    assert re.search(r"near_duplicate\.of +none", measured)
    assert re.search(r"near_duplicate\.similarity +abstained", measured)
    empty = dict.fromkeys([*first, "near_duplicate.of"])
    assert re.search(r"near_duplicate\.of +abstained", shown(empty))
    assert re.search(r"near_duplicate\.of +c7", shown({**first, "near_duplicate.of": "c7"}))


def shown(scores: dict[str, Any]) -> str:
    candidate = {
        "candidate_id": "c",
        "teacher": "a",
        "sample_index": 0,
        "text": "text",
        "error": None,
        "chosen": True,
    }
    prompt = {"language": "tr", "messages": [{"role": "user", "content": "?"}]}
    console = Console(width=100, file=io.StringIO())
    show_prompt(console, Explanation("p", prompt, None, [candidate | scores], []))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_explain_of_an_unknown_prompt_names_the_nearest(
    arbitrage: Callable[..., Any], pristine: Path
) -> None:
    said = arbitrage("explain", pristine, "tr0")
    assert said.code == 2
    assert 'Did you mean "tr-0"?' in said.complaint


def test_report_writes_both_renderings_again(arbitrage: Callable[..., Any], finished: Path) -> None:
    for name in ("README.md", "report.html"):
        (finished / name).unlink()
    said = arbitrage("report", finished)
    assert said.code == 0
    assert said.out.splitlines() == [f"{finished}/README.md", f"{finished}/report.html"]
    assert (finished / "README.md").read_text().startswith("---\n")
    assert "<html" in (finished / "report.html").read_text()


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("view", ["sft", "preference"])
def test_view_writes_every_trainers_columns_in_every_format(
    arbitrage: Callable[..., Any], pristine: Path, tmp_path: Path, view: str, trainer: str
) -> None:
    from arbitrage.infra.store import open_run

    rows = open_run(pristine).manifest["views"][view]["rows"]
    for kind in FORMATS:
        output = tmp_path / kind
        given = ("--format", kind, "--trainer", trainer, "-o", output)
        said = arbitrage("view", pristine, view, *given)
        if said.code:
            assert said.code == 2, said.err
            assert trainer in said.complaint
            continue
        written = [Path(line) for line in said.out.splitlines()]
        assert all(path.is_file() for path in written)
        assert read_back(kind, output, written).num_rows == rows
        assert arbitrage("view", pristine, view, *given).code == 2  # never over what is there


def read_back(kind: str, output: Path, written: list[Path]) -> datasets.Dataset:
    if (output / "state.json").exists():
        return datasets.load_from_disk(str(output))
    data = [path for path in written if path.suffix == f".{kind}"]
    readers = {"arrow": pl.read_ipc_stream, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}
    return datasets.Dataset.from_list(pl.concat([readers[kind](path) for path in data]).to_dicts())


def test_decide_makes_a_new_run_beside_the_old_and_asks_nobody(
    arbitrage: Callable[..., Any], finished: Path
) -> None:
    said = arbitrage(
        "decide", finished, "--set", "filters.length.min_words=200", "--run-id", "strict"
    )
    assert said.code == 0, said.err
    strict = finished.parent / "strict"
    assert said.out.splitlines()[-1] == str(strict)
    assert verify_run(strict).to_json()["kept"] == 0
    assert verify_run(finished).to_json()["kept"] > 0
    said = arbitrage("decide", finished, "--run-id", "strict")
    assert said.code == 2
    assert "exists already" in said.complaint


def test_decide_in_place_replaces_the_decisions_only(
    arbitrage: Callable[..., Any], finished: Path
) -> None:
    before = (finished / "prompts" / "part-00000.arrow").read_bytes()
    said = arbitrage("decide", finished, "--in-place", "--set", "filters.length.min_words=200")
    assert said.code == 0, said.err
    assert verify_run(finished).to_json()["kept"] == 0
    assert verify_run(finished).ok
    assert (finished / "prompts" / "part-00000.arrow").read_bytes() == before
    assert [path.name for path in finished.parent.iterdir()] == ["finished"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "run.samples=9"], "differs from the run's in [run]"),
        (["--set", "prompts.limit=2"], "differs from the run's in [prompts]"),
        (["--set", "filters.lenght.min_words=2"], 'Did you mean "length"?'),
        (["--in-place", "--run-id", "x"], "Leave one of the two out"),
        (["--run-id", "../x"], "is not a run id"),
        (["nowhere.toml"], 'there is no config "nowhere.toml"'),
    ],
)
def test_decide_refuses_what_would_need_other_candidates(
    arbitrage: Callable[..., Any], finished: Path, more: list[str], words: str
) -> None:
    said = arbitrage("decide", finished, *more)
    assert said.code == 2
    assert words in said.complaint
    assert [path.name for path in finished.parent.iterdir()] == ["finished"]
    assert verify_run(finished).ok


@pytest.mark.parametrize(
    "arguments",
    [["explain", "RUN", "x"], ["report", "RUN"], ["decide", "RUN"], ["view", "RUN", "sft"]],
)
def test_a_wrong_run_folder_is_said_to_be_none(
    arbitrage: Callable[..., Any], in_folder: Path, arguments: list[str]
) -> None:
    more = ["-o", "out"] if arguments[0] == "view" else []
    said = arbitrage(*arguments, *more)
    assert said.code == 2
    assert 'there is no run folder "RUN"' in said.complaint
    (in_folder / "RUN").mkdir()
    said = arbitrage(*arguments, *more)
    assert said.code == 4
    assert "not a finished run" in said.complaint
    assert list((in_folder / "RUN").iterdir()) == []


# On a terminal


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_a_terminal_without_cutting_its_head(pristine: Path, width: int) -> None:
    import io

    from rich.console import Console

    from arbitrage.infra.report.counts import Counts
    from arbitrage.infra.report.table import rich_table
    from arbitrage.infra.store import open_run

    counts = Counts.from_json(open_run(pristine).manifest["counts"])
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(rich_table(counts, width=console.width))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for word in ("language", "teacher", "requested", "kept", "rejected", "failed"):
        assert word in lines[0]

"""What people really feed in, through the command line: one clear message, or a row in the
graveyard; never a traceback, never a lost row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

GOOD = {"prompt_id": "good", "prompt": "İyi bir soru nasıl sorulur?", "language": "tr"}

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def config(run_configs: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """`config(source, {"prompts.text": ...})`: a run.toml whose one teacher recorded "good"."""

    def write(source: Path, changes: dict[str, Any] | None = None) -> Path:
        recordings = run_configs.write_recordings(tmp_path / "recordings.parquet", [GOOD])
        data = {
            "run": {"name": "bad", "output": str(tmp_path / "runs")},
            "prompts": {"source": str(source)},
            "teachers": [{"name": "alpha", "backend": "replay", "recordings": str(recordings)}],
            "router": {"kind": "uniform"},
            "filters": {"length": {"min_words": 2}},
            "select": {"objective": "maximize:length.words"},
            "views": {"sft": {}},
        }
        return run_configs.write_toml(
            tmp_path / "run.toml", run_configs.changed(data, changes or {})
        )

    return write


def lines(path: Path, *rows: dict[str, Any] | bytes) -> Path:
    encoded = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(row + b"\n" for row in encoded))
    return path


def row(number: int, **fault: Any) -> dict[str, Any]:
    return GOOD | {"prompt_id": f"row-{number}"} | fault


FAULTS: dict[str, dict[str, Any] | bytes] = {
    "empty_prompt": row(1, prompt=""),
    "white_space": row(2, prompt=" \n\t\u3000"),
    "nul_byte": row(3, prompt="a\x00b"),
    "too_long": row(4, prompt="ü" * 5_000_000),
    "duplicate_id": GOOD,
    "unknown_language": row(5, language="xx"),
    "malformed_language": row(6, language="english language"),
    "missing_language": row(7, language=None),
    "missing_text": row(8, prompt=None),
    "wrong_type": row(9, prompt=12),
    "surrogate": b'{"prompt_id": "row-10", "prompt": "lone \\ud800 surrogate", "language": "tr"}',
    "invalid_utf8": b'{"prompt_id": "row-11", "prompt": "\xff\xfe", "language": "tr"}',
    "broken_line": b'{"prompt_id": "row-12", "prompt": "cut of',
    "no_object": b"[1, 2]",
}


def test_every_kind_of_bad_row_is_buried_with_a_reason_and_the_rest_goes_on(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path
) -> None:
    source = lines(
        tmp_path / "prompts.jsonl",
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),  # a byte order mark
        *FAULTS.values(),
        row(99, prompt="Bu soru kaydedilmedi ama geçerlidir"),
    )
    said = arbitrage("run", config(source), "--run-id", "bad")
    assert "Traceback" not in said.err
    assert said.code == 3  # row-99 is valid and was not recorded: a shortfall, said
    assert "shortfall: 1 of 2 requested candidates failed (50.0%" in said.err
    assert said.out.splitlines()[-1] == str(tmp_path / "runs" / "bad")
    opened = open_run(tmp_path / "runs" / "bad")
    found = verify_run(opened.path).to_json()
    assert found["problems"] == []
    assert found["prompts"] == len(FAULTS) + 2
    assert found["unroutable"] == len(FAULTS)
    assert opened.prompts.collect()["prompt_id"].to_list() == ["good", "row-99"]
    buried = opened.graveyard.filter(pl.col("kind") == "prompt").collect()
    assert all(len(reasons) == 1 for reasons in buried["reasons"])
    assert buried["reasons"].list.first().n_unique() >= 9
    assert all("prompts.jsonl" in origin for origin in buried["origin"])
    # A person finds the five-megabyte row by its line, not by its text.
    assert max(len(detail or "") for detail in buried["detail"]) < 1000


def test_chats_with_wrong_roles_or_no_user_turn_are_buried(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path
) -> None:
    def turn(role: str, content: str | None) -> dict[str, str | None]:
        return {"role": role, "content": content}

    chats = [
        [turn("system", "kısa yaz"), turn("user", "merhaba")],
        [turn("narrator", "bir varmış")],
        [turn("assistant", "buyurun")],
        [turn("user", "soru"), turn("assistant", "cevap")],
        [turn("user", None)],
        [],
        None,
    ]
    rows = [
        {"prompt_id": "good" if i == 0 else f"chat-{i}", "messages": chat, "language": "tr"}
        for i, chat in enumerate(chats)
    ]
    source = lines(tmp_path / "chats.jsonl", *rows)
    path = config(source, {"prompts.messages": "column:messages"})
    said = arbitrage("run", path, "--run-id", "chats")
    assert said.code == 0, said.err
    found = verify_run(tmp_path / "runs" / "chats").to_json()
    assert found["ok"]
    assert (found["prompts"], found["unroutable"], found["kept"]) == (len(chats), 6, 1)


def _parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def _truncated(path: Path) -> Path:
    _parquet(path, prompt=["merhaba"] * 1000, language=["tr"] * 1000)
    path.write_bytes(path.read_bytes()[:-100])
    return path


SOURCES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda p: p / "nowhere.parquet", 'nothing matches "'),
    "empty jsonl": (lambda p: lines(p / "a.jsonl"), "holds no rows"),
    "empty parquet": (
        lambda p: _parquet(p / "a.parquet", prompt=pa.array([], "string"), language=[]),
        "holds no rows",
    ),
    "missing column": (
        lambda p: _parquet(p / "a.parquet", promt=["a"], language=["tr"]),
        'Did you mean "promt"?',
    ),
    "wrong type": (
        lambda p: _parquet(p / "a.parquet", prompt=[1], language=["tr"]),
        'column "prompt" of ',
    ),
    "truncated": (lambda p: _truncated(p / "a.parquet"), "a.parquet is damaged"),
    "not what its name says": (
        lambda p: lines(p / "a.parquet", {"prompt": "a"}),
        "a.parquet is damaged",
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_read_is_one_clear_error(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    make, words = SOURCES[case]
    path = config(make(tmp_path))
    for command in ("run", "plan", "preview"):
        said = arbitrage(command, path)
        assert said.code == 2, said.err
        assert words in said.complaint
    said = arbitrage("check", path)
    assert said.code == 2
    (line,) = [line for line in said.out.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  source: ")
    assert words in line


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown section": ({"promts": {"source": "x"}}, 'Did you mean "prompts"?'),
    "unknown key": ({"run.shard_sizes": 3}, 'Did you mean "shard_size"?'),
    "unknown teacher key": ({"teachers.0.recording": "x"}, 'Did you mean "recordings"?'),
    "unknown filter": ({"filters.lenght": {"min_words": 1}}, 'Did you mean "length"?'),
    "unknown filter key": ({"filters.length.min_word": 1}, 'Did you mean "min_words"?'),
    "unknown backend": ({"teachers.0.backend": "reply"}, 'Did you mean "replay"?'),
    "absent teacher": (
        {"router": {"kind": "single", "teacher": "alhpa"}},
        'Did you mean "alpha"? Known: alpha.',
    ),
    "absent measure": ({"select.objective": "maximize:length.word"}, 'Did you mean "length.words"'),
    "wrong type": ({"run.seed": "many"}, "run.seed: "),
    "wrong tag": ({"prompts.language": "klingonese!"}, "klingonese!"),
    "too many teachers": ({"router.teachers_per_prompt": 2}, "the pool has 1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_config_is_named_with_the_nearest_match(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path, case: str
) -> None:
    changes, words = MISTAKES[case]
    source = lines(tmp_path / "prompts.jsonl", GOOD)
    said = arbitrage("run", config(source, changes))
    assert said.code == 2
    assert words in said.complaint
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_are_listed_at_once(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path
) -> None:
    path = config(lines(tmp_path / "p.jsonl", GOOD), {"run.sede": 1, "prompts.sorce": "x"})
    complaint = arbitrage("run", path).complaint
    assert "2 mistakes" in complaint
    assert "run.sede" in complaint
    assert "prompts.sorce" in complaint


@pytest.mark.parametrize("text", ["[run", "a = ", "\x00", "run = 3"])
def test_a_config_that_is_no_config_is_refused(
    arbitrage: Callable[..., Any], tmp_path: Path, text: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    said = arbitrage("run", tmp_path / "run.toml")
    assert said.code == 2
    assert "run.toml" in said.complaint


def test_recordings_that_are_absent_are_named(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path
) -> None:
    path = config(lines(tmp_path / "p.jsonl", GOOD), {"teachers.0.recordings": "nowhere.parquet"})
    said = arbitrage("run", path, "--run-id", "r")
    assert said.code == 2
    assert "nowhere.parquet" in said.complaint


@pytest.mark.parametrize("place", ["file", "below a file", "a run's place"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_asked(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    path = config(lines(tmp_path / "prompts.jsonl", GOOD))
    (tmp_path / "taken").write_text("I was here first")
    if place == "a run's place":
        (tmp_path / "runs" / "mine").mkdir(parents=True)
        (tmp_path / "runs" / "mine" / "thesis.txt").write_text("do not touch")
        said = arbitrage("run", path, "--run-id", "mine")
        assert "holds files that are no run" in said.complaint
        assert (tmp_path / "runs" / "mine" / "thesis.txt").read_text() == "do not touch"
    else:
        output = tmp_path / "taken" / ("" if place == "file" else "deeper")
        said = arbitrage("run", path, "--set", f"run.output={output}")
        assert "is a file" in said.complaint
        assert (tmp_path / "taken").read_text() == "I was here first"
    assert said.code == 2


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", ".hidden", "x" * 200, "-r", "a b", "ü"])
def test_a_run_id_that_would_leave_the_output_is_refused(
    arbitrage: Callable[..., Any], config: Callable[..., Path], tmp_path: Path, run_id: str
) -> None:
    path = config(lines(tmp_path / "prompts.jsonl", GOOD))
    said = arbitrage("run", path, f"--run-id={run_id}")
    assert said.code == 2
    assert f'"{run_id}" is not a run id' in said.complaint
    assert not (tmp_path / "runs").exists()

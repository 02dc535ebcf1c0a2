"""Rows written in each kind of file, and sources read back whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config import PromptsConfig
from arbitrage.infra.sources import PromptChunk, read_prompts

Rows = Sequence[Mapping[str, Any]]


def _table(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows])


def write_parquet(rows: Rows, path: Path) -> None:
    pq.write_table(_table(rows), path)


def write_arrow_file(rows: Rows, path: Path) -> None:
    table = _table(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_arrow_stream(rows: Rows, path: Path) -> None:
    table = _table(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def write_jsonl(rows: Rows, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as sink:
        writer = csv.DictWriter(sink, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, tuple[str, Callable[[Rows, Path], None]]] = {
    "parquet": ("rows.parquet", write_parquet),
    "arrow file": ("rows.arrow", write_arrow_file),
    "arrow stream": ("rows.stream.arrow", write_arrow_stream),
    "jsonl": ("rows.jsonl", write_jsonl),
    "csv": ("rows.csv", write_csv),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Rows, str], str]:
    """Write rows in a kind of file and return its path."""

    def _write(rows: Rows, kind: str) -> str:
        name, writer = WRITERS[kind]
        path = tmp_path / name
        writer(rows, path)
        return str(path)

    return _write


@pytest.fixture(params=list(WRITERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def read() -> Callable[..., PromptChunk]:
    """Read a whole source as one chunk; `chunk_rows` and [prompts] keys by name."""

    def _read(source: str | Path | list[str], chunk_rows: int = 1000, **keys: Any) -> PromptChunk:
        source = source if isinstance(source, list) else str(source)
        config = PromptsConfig(source=source, **keys)
        whole: PromptChunk | None = None
        for chunk in read_prompts(config, chunk_rows=chunk_rows):
            assert 0 < chunk.rows <= chunk_rows
            assert chunk.rows == chunk.prompts.num_rows + chunk.graveyard.num_rows
            whole = whole.joined(chunk) if whole else chunk
        assert whole is not None
        return whole

    return _read


@pytest.fixture
def texts() -> Callable[[PromptChunk], list[str]]:
    """Content of each prompt's last turn."""
    return lambda chunk: [m[-1]["content"] for m in chunk.prompts["messages"].to_pylist()]


@pytest.fixture
def causes() -> Callable[[PromptChunk], dict[str, str]]:
    """Position of each graveyard row -> its one reason without the stage."""

    def _causes(chunk: PromptChunk) -> dict[str, str]:
        found = {}
        for row in chunk.graveyard.to_pylist():
            assert row["kind"] == "prompt"
            assert row["stage"] == "prompts"
            assert 0 < len(row["detail"]) <= 200
            (reason,) = row["reasons"]
            found[row["origin"].rpartition(":")[2]] = reason.removeprefix("prompts.")
        return found

    return _causes

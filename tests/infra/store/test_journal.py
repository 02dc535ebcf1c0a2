"""The journal keeps what finished, through kills, torn tails and full disks."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.errors import OutputError
from arbitrage.infra.store.frames import read_segment
from arbitrage.infra.store.journal import Journal


def row(candidate: str, **changes: Any) -> dict[str, Any]:
    return {
        "candidate_id": candidate,
        "prompt_id": "p",
        "language": "th",
        "teacher": "t",
        "sample_index": 0,
        "text": "สวัสดี 🙂",
        "route_probability": 1.0,
        "router": "single@1",
        "params_hash": "h",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "retryable": False,
        **changes,
    }


async def recorded(journal: Journal, rows: list[dict[str, Any]]) -> None:
    if (waiting := journal.record(rows)) is not None:
        await waiting


def record(folder: Path, *groups: list[dict[str, Any]], group_rows: int = 1024) -> None:
    async def write() -> None:
        for group in groups:
            await recorded(journal, group)

    with Journal(folder, group_rows=group_rows) as journal:
        asyncio.run(write())


def test_rows_come_back_as_recorded(tmp_path: Path) -> None:
    record(tmp_path, [row("a"), row("b")], [row("c")])
    table = Journal(tmp_path).rows()
    assert table["candidate_id"].to_pylist() == ["a", "b", "c"]
    assert table["text"].to_pylist() == ["สวัสดี 🙂"] * 3


def test_an_untouched_journal_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "never").rows().num_rows == 0
    assert Journal(tmp_path / "never").finished() == set()


def test_a_batch_of_only_nulls_keeps_the_declared_types(tmp_path: Path) -> None:
    record(tmp_path, [row("a", text=None, error="generate.timeout")])
    record(tmp_path, [row("b", sum_logprob=-1.5)])
    assert Journal(tmp_path).rows()["sum_logprob"].to_pylist() == [None, -1.5]


def test_a_retryable_failure_is_asked_again_and_the_later_row_wins(tmp_path: Path) -> None:
    record(tmp_path, [row("a", text=None, error="generate.timeout", retryable=True), row("b")])
    assert Journal(tmp_path).finished() == {"b"}
    record(tmp_path, [row("a", text="now")])
    rows = Journal(tmp_path).rows()
    assert sorted(
        zip(*rows.select(["candidate_id", "text"]).to_pydict().values(), strict=True)
    ) == [
        ("a", "now"),
        ("b", "สวัสดี 🙂"),
    ]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_segment_cut_anywhere_yields_a_prefix(tmp_path_factory: Any, data: Any) -> None:
    folder = tmp_path_factory.mktemp("journal")
    for number in range(3):
        record(folder, [row(f"{number}-{index}") for index in range(4)])
    whole = b"".join(path.read_bytes() for path in sorted(folder.glob("*.frames")))
    cut = data.draw(st.integers(0, len(whole)))
    torn = folder / "torn"
    torn.write_bytes(whole[:cut])
    ids = [
        candidate for batch in read_segment(torn) for candidate in batch["candidate_id"].to_pylist()
    ]
    assert ids == [f"{number}-{index}" for number in range(3) for index in range(4)][: len(ids)]
    assert len(ids) % 4 == 0
    assert (len(ids) == 12) == (cut == len(whole))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_byte_never_passes_for_a_row(tmp_path_factory: Any, data: Any) -> None:
    folder = tmp_path_factory.mktemp("journal")
    record(folder, [row("a"), row("b")])
    (segment,) = folder.glob("*.frames")
    content = bytearray(segment.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    segment.write_bytes(content)
    assert list(read_segment(segment)) == []


def test_at_most_one_group_waits_to_become_durable(tmp_path: Path) -> None:
    waiting: list[int] = []

    async def write() -> None:
        for number in range(200):
            await recorded(journal, [row(str(number))])
            waiting.append(journal._undurable)

    with Journal(tmp_path, group_rows=8) as journal:
        asyncio.run(write())
    assert max(waiting) <= 8
    assert Journal(tmp_path).rows().num_rows == 200


def test_a_writer_killed_with_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_journal import recorded, row
from pathlib import Path
from arbitrage.infra.store.journal import Journal
async def write():
    number = 0
    while True:
        await recorded(journal, [row(str(number))])
        number += 1
        if number % 100 == 0:
            print(number - journal._undurable, flush=True)
with Journal(Path({str(tmp_path)!r})) as journal:
    asyncio.run(write())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    durable = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        while durable < 1000:
            durable = int(child.stdout.readline())
        child.kill()
    ids = Journal(tmp_path).rows()["candidate_id"].to_pylist()
    assert len(ids) >= durable
    assert ids == [str(number) for number in range(len(ids))]


def test_a_full_disk_stops_the_caller_with_the_place_named(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match="frames"):
            record(
                tmp_path,
                *([row(f"{n}", text=os.urandom(3000).hex())] for n in range(200)),
                group_rows=4,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert 0 < Journal(tmp_path).rows().num_rows < 200

"""Progress where there is no terminal: a line a stage, with the counts at which it ended."""

from __future__ import annotations

import io
import time

from rich.console import Console

from arbitrage.flows.display import describe, showing_progress
from arbitrage.infra.progress import Snapshot, board


def until_said(console: Console, line: str) -> None:
    ends = time.monotonic() + 240
    while line not in console.file.getvalue().splitlines():
        assert time.monotonic() < ends, console.file.getvalue()
        time.sleep(0.01)


def test_each_stage_ends_with_its_counts() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    board.reset()
    board.add(shards=2)
    with showing_progress(console):
        board.enter("generating and scoring")
        until_said(console, "generating and scoring: 0 of 2 shards, 0 candidates")
        board.add(shards_scored=2, finished=9, failed=1)
        board.enter("deciding")
        until_said(console, "deciding: 0 of 2 shards")
        board.add(shards_decided=2)
        board.enter("finished")
    lines = console.file.getvalue().splitlines()
    assert "generating and scoring: 2 of 2 shards, 9 candidates, 1 failed" in lines
    assert "deciding: 2 of 2 shards" in lines
    assert lines[-1] == "finished"
    assert len(lines) == len(set(lines))


def test_a_stage_without_counts_is_its_name() -> None:
    assert describe(Snapshot(stage="writing views", shards=3)) == "writing views"

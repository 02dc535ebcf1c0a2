"""Progress of a run: a bar on a terminal, plain lines elsewhere. Reads the board, owns no state."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from arbitrage.infra.progress import Snapshot, board

_REFRESH_S = 0.2
_PLAIN_EVERY_S = 5.0


@contextmanager
def showing_progress(console: Console) -> Iterator[None]:
    """Show the board while the context lasts."""
    done = threading.Event()
    show = _bar if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(console, done), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def describe(snapshot: Snapshot) -> str:
    """One line of plain text.

    >>> describe(Snapshot(stage="deciding", shards=3, shards_scored=3, shards_decided=1))
    'deciding: 1 of 3 shards'
    """
    if snapshot.stage == "deciding":
        return f"deciding: {snapshot.shards_decided} of {snapshot.shards} shards"
    if snapshot.stage != "generating and scoring":
        return snapshot.stage
    failed = f", {snapshot.failed} failed" if snapshot.failed else ""
    return (
        f"generating and scoring: {snapshot.shards_scored} of {snapshot.shards} shards, "
        f"{snapshot.finished} candidates{failed}"
    )


def _lines(console: Console, done: threading.Event) -> None:
    said, stage, spoken = "", "", 0.0
    while True:
        ending = done.wait(_REFRESH_S)
        snapshot = board.read()
        # The counts at which a stage ended, unless that was the last thing said.
        ended = stage not in {"", snapshot.stage}
        texts = [describe(replace(snapshot, stage=stage))] if ended else []
        due = time.monotonic() - spoken >= _PLAIN_EVERY_S
        if snapshot.stage != stage or due or ending:
            texts.append(describe(snapshot))
        for text in texts:
            if text != said:
                console.print(text, highlight=False)
                said, spoken = text, time.monotonic()
        stage = snapshot.stage
        if ending:
            return


def _bar(console: Console, done: threading.Event) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(describe(Snapshot()), total=None)
        while not done.wait(_REFRESH_S):
            snapshot = board.read()
            progress.update(
                bar,
                description=describe(snapshot),
                total=2 * snapshot.shards or None,
                completed=snapshot.shards_scored + snapshot.shards_decided,
            )

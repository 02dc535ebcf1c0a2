"""Replacing a finished run's decided files by newer ones; a kill at any moment can be mended."""

from __future__ import annotations

import filecmp
from pathlib import Path

from arbitrage.errors import RunConflictError
from arbitrage.infra.store import layout
from arbitrage.infra.store.answers import SUFFIX as ANSWERS
from arbitrage.infra.store.files import Folder, link_or_copy, sync_folder
from arbitrage.infra.store.lock import RunLock

_READY = f"{layout.STAGED}/ready"


def replace_decisions(folder: Folder, decided: Path) -> None:
    """Move the files of the run staged at `decided` over those of `folder`.

    Once the staged run is marked ready, `finish_swap` can move whatever is left to move.
    """
    # Where the new run has no views, those of before go all the same.
    (decided / layout.VIEWS).mkdir(exist_ok=True)
    _keep_answers(decided / layout.UNANSWERED, folder / layout.UNANSWERED)
    folder.write_bytes(_READY, decided.name.encode())
    _move(folder)


def _keep_answers(new: Path, kept: Path) -> None:
    """Add what servers answered this time to what the run keeps, for it was paid for."""
    for source in sorted(new.glob(f"*/*{ANSWERS}")):
        place = kept / source.parent.name
        place.mkdir(parents=True, exist_ok=True)
        there = sorted(place.glob(f"*{ANSWERS}"))
        if not any(filecmp.cmp(source, other, shallow=False) for other in there):
            link_or_copy(source, place / f"{len(there):05d}{ANSWERS}")


def finish_swap(folder: Folder) -> None:
    """Finish a replacement that was interrupted; leaves one that is under way to its process."""
    if not folder.exists(_READY):
        return
    lock = RunLock(folder)
    try:
        lock.acquire()
    except RunConflictError:
        return
    try:
        if folder.exists(_READY):  # else its process ended it just now
            _move(folder)
    finally:
        lock.release()


def _move(folder: Folder) -> None:
    decided = Folder(folder / layout.STAGED) / (folder / _READY).read_text(encoding="utf-8")
    # The manifest moves last: until then readers see that files and manifest differ.
    for name in (*layout.PARTS, layout.VIEWS, layout.CARD, layout.REPORT, layout.MANIFEST):
        source = decided / name
        if source.is_dir():  # a file takes the other's place in one step, and no reader misses it
            folder.remove(name)
        if source.exists():
            source.replace(folder / name)
    sync_folder(folder.root)
    folder.remove(layout.STAGED)

"""The changes of a run folder in the order they happened, each file as it was at that moment."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from arbitrage.infra.store import layout
from arbitrage.infra.store.files import cannot_write, link_or_copy

# Written at the end, from what lies in the folder; or of this machine only.
_LATER = {layout.MANIFEST, layout.CARD, layout.REPORT, layout.LOCK, layout.HOLDER}

# Beside the copies: the last commit this folder was part of.
POSITION = "position.json"


@dataclass(frozen=True, slots=True)
class Event:
    """A file written, kept under `copy` as it was then; or, without one, a name removed."""

    name: str
    copy: Path | None


class Outbox:
    """Watches a run folder. A hard link keeps each file as it was when it was written.

    What is taken out is a beginning of what happened, so it is a state that the folder once had:
    the one thing a resumed run relies on.
    """

    def __init__(self, root: Path, check: Callable[[], None] = lambda: None) -> None:
        self.folder = root.with_name(f"{root.name}.outbox")
        self._root = root
        self._check = check
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._count = 0

    def open(self) -> None:
        """Begin with an empty box; what a killed process left in it lies in the run folder too."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.clear()
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def written(self, name: str) -> None:
        self._check()
        if name in _LATER:
            return
        with self._lock:
            self._count += 1
            copy = self.folder / f"{self._count:08d}"
            try:
                link_or_copy(self._root / name, copy)
            except OSError as error:
                raise cannot_write(copy, error) from error
            self._events.append(Event(name, copy))

    def removed(self, name: str) -> None:
        if name in _LATER or name == layout.WORK:
            return  # the work folder goes when the run is whole, and the store's when all is there
        with self._lock:
            self._events.append(Event(name, None))

    def take(self) -> list[Event]:
        """Everything that happened since the last call, in order."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def clear(self) -> None:
        """Remove the copies; what is remembered of the last commit stays."""
        for path in self.folder.iterdir():
            if path.name != POSITION:
                path.unlink()

    def remove(self) -> None:
        """Remove all of it, once the run is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

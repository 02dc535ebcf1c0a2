"""The changes of a run folder in the order they happened, each file as it was at that moment."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from arbitrage.infra.store import layout
from arbitrage.infra.store.files import cannot_write
from arbitrage.infra.store.s3.events import LATER, Event, keep, outbox_of
from arbitrage.infra.store.s3.notes import NotesOfShard

# Beside the copies: the last commit this folder was part of.
POSITION = "position.json"


class Outbox:
    """Watches a run folder. A hard link keeps each file as it was when it was written.

    What is taken out is a beginning of what happened, so it is a state that the folder once had:
    the one thing a resumed run relies on. Other processes note what they write of the shards that
    were given to them.
    """

    def __init__(self, root: Path, check: Callable[[], None] = lambda: None) -> None:
        self.folder = outbox_of(root)
        self._root = root
        self._check = check
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._count = 0
        self._given: dict[int, NotesOfShard] = {}
        self._done: list[int] = []

    def open(self) -> None:
        """Begin with an empty box; what a killed process left in it lies in the run folder too."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.clear()
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def written(self, name: str) -> None:
        self._check()
        if name in LATER:
            return
        with self._lock:
            self._count += 1
            copy = self.folder / f"{self._count:08d}"
            keep(self._root / name, copy)
            self._events.append(Event(name, copy))

    def removed(self, name: str) -> None:
        if name in LATER or name == layout.WORK:
            return  # the work folder goes when the run is whole, and the store's when all is there
        with self._lock:
            self._events.append(Event(name, None))

    def given(self, shard: int) -> None:
        """Another process is about to write a shard; what it needs was written before."""
        with self._lock:
            self._given.setdefault(shard, NotesOfShard(self.folder, shard))

    def done(self, shard: int) -> None:
        """A shard that was given is whole, and nobody writes it any more."""
        with self._lock:
            self._done.append(shard)

    def take(self) -> list[Event]:
        """Everything that happened since the last call, in order.

        What others write needs what happened here before their shard was given, and what happens
        here needs shards that are done: so first what happened here is taken, then what they noted
        of the shards that were given until then. Neither lacks anything that it needs.
        """
        with self._lock:
            events, self._events = self._events, []
            given, done = dict(self._given), self._done
            self._done = []
        noted = [event for shard in sorted(given) for event in given[shard].read()]
        for shard in done:
            given[shard].forget()
            with self._lock:
                del self._given[shard]
        return [*noted, *events]

    def clear(self) -> None:
        """Remove the copies; what is remembered of the last commit stays."""
        for path in self.folder.iterdir():
            if path.name != POSITION:
                path.unlink()

    def remove(self) -> None:
        """Remove all of it, once the run is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""What other processes write into a run folder, noted for the one that mirrors it.

A process that holds a shard keeps each file it writes under a hard link in the outbox, as the
mirror's own process does, and notes it in a file of its own there, a line a change. Who takes the
shard over begins another one. The mirror reads them in that order, so what it commits of a shard is
a state that the shard once had. A line is on its way to other machines when its file is closed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder, cannot_write, write_all
from arbitrage.infra.store.s3.events import LATER, Event, keep, outbox_of
from arbitrage.infra.store.watch import watched

_KINDS = (".arrow", ".json", ".npz")


class Notes:
    """Watches a run folder for one shard, which this process holds.

    Attributes:
        is_first: whether nobody has noted anything of this shard before.
    """

    def __init__(self, root: Path, shard: int) -> None:
        self._root = root
        self._box = outbox_of(root)
        self._lock = threading.Lock()
        self._count = 0
        number = next(n for n in itertools.count() if not _path(self._box, shard, n).exists())
        self.is_first = number == 0
        self._path = _path(self._box, shard, number)
        self._append(b"")

    def written(self, name: str) -> None:
        if name in LATER:
            return
        with self._lock:
            self._count += 1
            copy = self._path.with_suffix(f".{self._count:06d}")
            keep(self._root / name, copy)
            self._append(orjson.dumps([name, copy.name]) + b"\n")

    def removed(self, name: str) -> None:
        if name in LATER:
            return
        with self._lock:
            self._append(orjson.dumps([name, None]) + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            with self._path.open("ab", buffering=0) as file:
                write_all(file, line)
        except OSError as error:
            raise cannot_write(self._path, error) from error


class NotesOfShard:
    """Reads what was noted of one shard, each change once."""

    def __init__(self, box: Path, shard: int) -> None:
        self._box, self._shard = box, shard
        self._number = self._offset = 0

    def read(self) -> list[Event]:
        """Changes since the last call. Of a line that is being written nothing is told yet."""
        # A holder is dead once the next one has begun: looked up first, all others are read whole.
        last = self._number
        while _path(self._box, self._shard, last + 1).exists():
            last += 1
        events: list[Event] = []
        for number in range(self._number, last + 1):
            if number > self._number:
                self._number, self._offset = number, 0
            events += self._rest_of(_path(self._box, self._shard, number))
        return events

    def forget(self) -> None:
        """Remove the files, once everything in them is read."""
        for number in range(self._number + 1):
            _path(self._box, self._shard, number).unlink(missing_ok=True)

    def _rest_of(self, path: Path) -> Iterator[Event]:
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                found = file.read()
        except FileNotFoundError:
            return  # its task waits for a node
        whole = found[: found.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            name, copy = orjson.loads(line)
            yield Event(name, None if copy is None else self._box / copy)


@contextmanager
def noted(folder: Folder, shard: int, *, waited: bool) -> Iterator[None]:
    """Note what this process writes of a shard that it holds.

    Where somebody held it before, that one may have died between a file and its line, so what lies
    there is noted first.

    Args:
        waited: whether somebody else held it until just now, whose notes may be gone.
    """
    notes = Notes(folder.root, shard)
    with watched(folder.root, notes):
        if waited or not notes.is_first:
            for name in _lying_there(folder, shard):
                notes.written(name)
            for name in (layout.journal(shard), layout.answers(shard)):
                if not folder.exists(name):
                    notes.removed(name)
        yield


def _lying_there(folder: Folder, shard: int) -> list[str]:
    """Files of a shard in the order they were written, those that grow left out."""
    places = [path.name for path in (folder / layout.WORK).iterdir() if path.is_dir()]
    names = [layout.staged(place, shard, kind[1:]) for place in places for kind in _KINDS]
    names += [layout.part(kind, shard) for kind in layout.PARTS]
    names += folder.names(f"{layout.SKETCHES}/{layout.sketch_part(shard)}")
    found = [name for name in names if folder.exists(name)]
    return sorted(found, key=lambda name: (folder / name).stat().st_mtime_ns)


def _path(box: Path, shard: int, number: int) -> Path:
    return box / f"shard-{shard:05d}-{number:03d}.notes"

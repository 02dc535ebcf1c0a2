"""Many small files as few objects: packed one behind the other, a piece each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from arbitrage.infra.store.s3.state import Change, Piece

_LARGEST = 64 * 2**20
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Packable:
    """Bytes from `start` to `stop` of a local file, to become a change of the file `name`."""

    kind: str
    name: str
    path: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Pack:
    """A local file that is to become the object `key`, and the changes it brings about."""

    key: str
    path: Path
    sha256: str
    changes: tuple[Change, ...]


def packed(items: list[Packable], folder: Path, prefix: str) -> Iterator[Pack]:
    """Packs of about 64 MiB below `folder`, keys below `prefix`; memory does not grow with them."""
    waiting = list(reversed(items))
    number = 0
    while waiting:
        path = folder / f"pack-{number}"
        key = f"{prefix}-{number}"
        changes: list[Change] = []
        whole = hashlib.sha256()
        with path.open("wb") as pack:
            while waiting and (pack.tell() == 0 or pack.tell() < _LARGEST):
                item = waiting.pop()
                start = pack.tell()
                own = _append(item, pack, whole)
                piece = Piece(key, start, item.stop - item.start, own)
                changes.append(Change(item.kind, item.name, piece))
        yield Pack(key, path, whole.hexdigest(), tuple(changes))
        path.unlink()
        number += 1


def _append(item: Packable, pack: BinaryIO, whole: hashlib._Hash) -> str:
    own = hashlib.sha256()
    with item.path.open("rb") as file:
        file.seek(item.start)
        left = item.stop - item.start
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise OSError(f"{item.path} is shorter than it was")  # ends the run that mirrors it
            pack.write(block)
            own.update(block)
            whole.update(block)
            left -= len(block)
    return own.hexdigest()

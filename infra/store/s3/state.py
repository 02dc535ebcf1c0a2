"""What of an unfinished run an object store holds: files made of pieces of objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of an object, with the sha256 of just these bytes."""

    key: str
    start: int
    bytes: int
    sha256: str

    def to_json(self) -> list[Any]:
        return [self.key, self.start, self.bytes, self.sha256]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the run's folder: a file `put` (whole), `grown` (by a piece), or `gone`.

    `gone` names a file or a folder.
    """

    kind: str
    name: str
    piece: Piece | None = None

    def to_json(self) -> list[Any]:
        return [self.kind, self.name, *(self.piece.to_json() if self.piece else [])]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Change:
        kind, name, *piece = data
        return cls(str(kind), str(name), Piece(*piece) if piece else None)


class State:
    """Files of a run as committed, and how much each object still holds of them."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Piece, ...]] = {}
        self._used: Counter[str] = Counter()

    def apply(self, changes: Iterable[Change]) -> list[str]:
        """Take changes in; returns keys of which nothing is used any more."""
        touched: list[str] = []
        for change in changes:
            if change.kind == "grown" and change.piece:
                self._set(change.name, (*self.files.get(change.name, ()), change.piece))
            elif change.kind == "put" and change.piece:
                touched += self._drop(change.name)
                self._set(change.name, (change.piece,))
            else:
                below = f"{change.name}/"
                names = [n for n in self.files if n == change.name or n.startswith(below)]
                for name in names:
                    touched += self._drop(name)
        return [key for key in dict.fromkeys(touched) if not self._used[key]]

    def size(self, name: str) -> int:
        return sum(piece.bytes for piece in self.files.get(name, ()))

    def uses(self, key: str) -> bool:
        """Whether a file is made of this object."""
        return self._used[key] > 0

    def whole(self) -> list[Change]:
        """Changes that make this state out of nothing."""
        return [
            Change("grown", name, piece) for name, pieces in self.files.items() for piece in pieces
        ]

    def _set(self, name: str, pieces: tuple[Piece, ...]) -> None:
        self._used[pieces[-1].key] += 1
        self.files[name] = pieces

    def _drop(self, name: str) -> list[str]:
        pieces = self.files.pop(name, ())
        for piece in pieces:
            self._used[piece.key] -= 1
        return [piece.key for piece in pieces]

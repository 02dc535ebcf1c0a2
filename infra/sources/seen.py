"""The ids seen so far, in 16 bytes each, to find duplicates in sources of any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

_Hashes = NDArray[np.uint64]


class SeenIds:
    """A set of ids that keeps xxh3-128 hashes in sorted arrays, merged as they grow.

    16 bytes an id at rest (a Python set takes about 100), up to 3 times that during a merge. Two
    of n ids are taken for one with a probability of n**2 / 2**129: 10**-23 for 10**8 ids.

    >>> seen = SeenIds()
    >>> seen.add(["a", "b", "a"]), seen.add(["b", "c"])
    ([2], [0])
    """

    def __init__(self) -> None:
        # Levels of (high, low) halves, sorted by the high half, each shorter than the one before.
        self._levels: list[tuple[_Hashes, _Hashes]] = []

    def __len__(self) -> int:
        return sum(len(high) for high, _ in self._levels)

    @property
    def nbytes(self) -> int:
        """Bytes at rest."""
        return sum(high.nbytes + low.nbytes for high, low in self._levels)

    def add(self, ids: Sequence[str]) -> list[int]:
        """Add ids; returns the ascending indices of those that were there or come twice."""
        if not ids:
            return []
        raw = b"".join(xxhash.xxh3_128_digest(one.encode()) for one in ids)
        halves = np.frombuffer(raw, dtype=np.uint64).reshape(-1, 2)
        duplicates = set(self._find(halves[:, 0], halves[:, 1]))
        first: dict[str, int] = {}
        for index, one in enumerate(ids):
            if first.setdefault(one, index) != index:
                duplicates.add(index)
        fresh = [index for index in range(len(ids)) if index not in duplicates]
        if fresh:
            new = halves[fresh]
            self._push(new[:, 0], new[:, 1])
        return sorted(duplicates)

    def _find(self, high: _Hashes, low: _Hashes) -> list[int]:
        found = []
        for known_high, known_low in self._levels:
            left = np.searchsorted(known_high, high, side="left")
            # Equal high halves are rare unless the id is known: only those get a closer look.
            near = known_high[np.minimum(left, len(known_high) - 1)] == high
            for index in np.flatnonzero(near):
                start = left[index]
                stop = np.searchsorted(known_high, high[index], side="right")
                if (known_low[start:stop] == low[index]).any():
                    found.append(int(index))
        return found

    def _push(self, high: _Hashes, low: _Hashes) -> None:
        order = np.argsort(high, kind="stable")
        high, low = high[order], low[order]
        while self._levels and len(self._levels[-1][0]) < 2 * len(high):
            other_high, other_low = self._levels.pop()
            high, low = np.concatenate([other_high, high]), np.concatenate([other_low, low])
            # A stable sort of two sorted runs is a merge.
            order = np.argsort(high, kind="stable")
            high, low = high[order], low[order]
        self._levels.append((high, low))

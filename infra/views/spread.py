"""How a number is spread within each language of a run: what a rank within a language needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.infra.views.shard import Mask, codes_of

Keys = NDArray[np.uint32]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]

# 24 of the 32 bits of a float32: sign, exponent and 15 bits of the fraction.
_DROPPED = np.uint32(8)


@dataclass(frozen=True, slots=True)
class Spread:
    """How often each value occurs, by language; merging is exact, so the order of shards is free.

    Values count as equal where they agree to about 1 in 30,000 (the top 24 bits of a float32).
    Memory: 12 bytes a distinct value, so at most 12 bytes a candidate and, for rewards between
    0.001 and 1,000 of either sign, at most 16 MB a language however many candidates there are.
    """

    table: Mapping[str, tuple[Keys, Counts]] = field(default_factory=dict)

    @classmethod
    def of(cls, languages: pa.ChunkedArray, values: Values, counted: Mask) -> Spread:
        """The spread of one shard's values where `counted` and not NaN."""
        codes, names = codes_of(languages)
        usable = counted & ~np.isnan(values)
        keys = _keys(values)
        return cls(
            {
                name: np.unique(keys[mine], return_counts=True)
                for code, name in enumerate(names)
                if (mine := usable & (codes == code)).any()
            }
        )

    @classmethod
    def merged(cls, parts: Iterable[Spread]) -> Spread:
        """All parts together."""
        table: dict[str, tuple[Keys, Counts]] = {}
        for part in parts:
            for name, (keys, counts) in part.table.items():
                if name not in table:
                    table[name] = keys, counts
                    continue
                known, known_counts = table[name]
                both, places = np.unique(np.concatenate([known, keys]), return_inverse=True)
                weights = np.concatenate([known_counts, counts])
                table[name] = both, np.bincount(places, weights).astype(np.int64)
        return cls(table)

    def midranks(self, languages: pa.ChunkedArray, values: Values) -> Values:
        """float64 [n] in 0..1: share of the language's values below, plus half of those equal.

        So the best half lies above 0.5 however many values tie, and where all tie all are 0.5.
        NaN for NaN, and for a language or value the spread has not seen.

        >>> tags, values = pa.chunked_array([["tr"] * 4]), np.array([0., 0, 0, 1])
        >>> spread = Spread.of(tags, values, np.ones(4, bool))
        >>> spread.midranks(pa.chunked_array([["tr", "tr"]]), np.array([0., 1])).tolist()
        [0.375, 0.875]
        """
        codes, names = codes_of(languages)
        ranks = np.full(len(values), np.nan)
        keys = _keys(values)
        for code, name in enumerate(names):
            mine = np.flatnonzero((codes == code) & ~np.isnan(values))
            if name not in self.table or not len(mine):
                continue
            known, counts = self.table[name]
            upto = np.cumsum(counts)
            place = np.minimum(np.searchsorted(known, keys[mine]), len(known) - 1)
            rank = (upto[place] - counts[place] / 2) / upto[-1]
            ranks[mine] = np.where(known[place] == keys[mine], rank, np.nan)
        return ranks


def _keys(values: Values) -> Keys:
    """Integers in the order of the values: a float's bits, with the negative ones turned round."""
    largest = float(np.finfo(np.float32).max)
    bits = (np.clip(np.nan_to_num(values), -largest, largest) + 0.0).astype(np.float32)
    raw = bits.view(np.uint32)
    ordered = np.where(raw >> np.uint32(31), ~raw, raw | np.uint32(0x80000000))
    keys: Keys = ordered.astype(np.uint32) >> _DROPPED
    return keys

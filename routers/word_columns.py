"""Hashed words as a dense matrix, some thousand prompts at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.features import Counts, Vocabulary, column_table, columns

Single = NDArray[np.float32]

CHUNK = 4096
NO_WORDS = Vocabulary(np.zeros(0, np.int32), np.zeros(0, np.float32))


def word_chunks(
    counts: Counts, shared: Vocabulary, paired: Vocabulary
) -> Iterator[tuple[int, Single]]:
    """(first row, float32 [rows, columns]) of the words of prompts, CHUNK rows at a time."""
    tables = column_table(shared), column_table(paired)
    for start in range(0, counts.size, CHUNK):
        stop = min(start + CHUNK, counts.size)
        first, last = np.searchsorted(counts.rows, [start, stop])
        part = Counts(
            counts.rows[first:last] - start,
            counts.bins[first:last],
            counts.paired[first:last],
            counts.values[first:last],
            stop - start,
        )
        both = [columns(part, part.bins, shared, tables[0])]
        if len(paired):
            both.append(columns(part, part.paired, paired, tables[1]))
        yield start, np.hstack(both)

"""The feature matrix of a reward log: columns that all languages share, and a language's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import (
    Counts,
    Vocabulary,
    column_table,
    columns,
    features,
    vocabulary,
)

Single = NDArray[np.float32]

SHARED_COLUMNS = 2000
# Columns of features that hold in one language only: so many a language, and at most; of a log that
# is not held in memory at most so many as would not double the time.
PAIRED_EACH, PAIRED_COLUMNS, PAIRED_LARGE = 200, 3000, 500
# Beyond so many prompts the matrix is made again, a chunk at a time, whenever it is needed.
IN_MEMORY = 20_000
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Design:
    """The feature matrix of prompts, whole or by chunks.

    Attributes:
        shared: features whose weight holds in all languages.
        paired: features together with a language, whose weight adds to the shared one there
            (feature hashing for many related tasks, Weinberger et al. 2009).
        dense: float32 [prompts, dimensions], embeddings; no columns without an embedder.
        matrix: float32 [prompts, width], or None beyond IN_MEMORY prompts.
    """

    counts: Counts
    shared: Vocabulary
    paired: Vocabulary
    dense: Single
    matrix: Single | None

    @classmethod
    def of(cls, batch: PromptBatch, dense: Single | None = None) -> Design:
        counts = features(batch)
        languages = len(set(batch.languages))
        shared = vocabulary(counts.rows, counts.bins, SHARED_COLUMNS)
        most = PAIRED_LARGE if counts.size > IN_MEMORY else PAIRED_COLUMNS
        width = min(most, PAIRED_EACH * languages) if languages > 1 else 0
        dense = np.zeros((counts.size, 0), np.float32) if dense is None else dense
        made = cls(counts, shared, vocabulary(counts.rows, counts.paired, width), dense, None)
        if counts.size > IN_MEMORY:
            return made
        return replace(made, matrix=np.vstack([part for _, part in made.chunks()]))

    @property
    def width(self) -> int:
        return len(self.shared) + len(self.paired) + int(self.dense.shape[1])

    def chunks(self) -> Iterator[tuple[int, Single]]:
        """(first row, float32 [rows, width]) from the first row to the last."""
        if self.matrix is not None:
            yield 0, self.matrix
        else:
            for start, part in matrix_chunks(self.counts, self.shared, self.paired):
                yield start, np.hstack([part, self.dense[start : start + len(part)]])

    def scale(self, paired_share: float, dense_share: float) -> Single:
        """float32 [width]: what each column is multiplied by where a language's own weight has
        `paired_share`, and one of an embedding `dense_share`, times the prior variance of a shared
        word's."""
        groups = (len(self.shared), 1.0), (len(self.paired), paired_share)
        sizes = (*groups, (self.dense.shape[1], dense_share))
        return np.concatenate([np.full(size, share**0.5, np.float32) for size, share in sizes])


def matrix_chunks(
    counts: Counts, shared: Vocabulary, paired: Vocabulary
) -> Iterator[tuple[int, Single]]:
    """(first row, float32 [rows, columns]) of the feature matrix, some thousand rows at a time."""
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

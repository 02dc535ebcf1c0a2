"""The feature matrix of a reward log: words, a language's own words, likeness and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import Counts, Vocabulary, features, vocabulary
from arbitrage.routers.likeness import Likeness
from arbitrage.routers.word_columns import NO_WORDS, Single, word_chunks

SHARED_COLUMNS = 2000
# Columns of features that hold in one language only: so many a language, and at most; of a log that
# is not held in memory at most so many as would not double the time.
PAIRED_EACH, PAIRED_COLUMNS, PAIRED_LARGE = 200, 3000, 500
# Beyond so many prompts the matrix is made again, a chunk at a time, whenever it is needed.
IN_MEMORY = 20_000


@dataclass(frozen=True, slots=True)
class Shares:
    """Prior variances of the weights, in units of that of a shared word's weight.

    Attributes:
        paired: of a language's own weights.
        likeness: of likeness to landmarks.
        dense: of embeddings.
    """

    paired: float
    likeness: float
    dense: float


@dataclass(frozen=True, slots=True)
class Design:
    """The feature matrix of prompts, whole or by chunks.

    Attributes:
        shared: features whose weight holds in all languages.
        paired: features together with a language, whose weight adds to the shared one there
            (feature hashing for many related tasks, Weinberger et al. 2009).
        likeness: to some of the prompts.
        dense: float32 [prompts, dimensions], embeddings; no columns without an embedder.
        matrix: float32 [prompts, width], or None beyond IN_MEMORY prompts. Columns: shared, paired,
            likeness, dense.
    """

    counts: Counts
    shared: Vocabulary
    paired: Vocabulary
    likeness: Likeness
    dense: Single
    matrix: Single | None

    @classmethod
    def of(cls, batch: PromptBatch, dense: Single | None = None, *, seed: int = 0) -> Design:
        """Made without looking at a reward; `seed` is that of the landmarks."""
        counts = features(batch)
        languages = len(set(batch.languages))
        shared = vocabulary(counts.rows, counts.bins, SHARED_COLUMNS)
        most = PAIRED_LARGE if counts.size > IN_MEMORY else PAIRED_COLUMNS
        width = min(most, PAIRED_EACH * languages) if languages > 1 else 0
        paired = vocabulary(counts.rows, counts.paired, width)
        likeness = Likeness.of(counts, shared, seed=seed)
        dense = np.zeros((counts.size, 0), np.float32) if dense is None else dense
        made = cls(counts, shared, paired, likeness, dense, None)
        if counts.size > IN_MEMORY:
            return made
        return replace(made, matrix=np.vstack([part for _, part in made.chunks()]))

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Columns of shared words, a language's own, likeness and embeddings."""
        sizes = len(self.shared), len(self.paired), self.likeness.width
        return (*sizes, int(self.dense.shape[1]))

    @property
    def width(self) -> int:
        return sum(self.widths)

    def chunks(self) -> Iterator[tuple[int, Single]]:
        """(first row, float32 [rows, width]) from the first row to the last."""
        if self.matrix is not None:
            yield 0, self.matrix
        else:
            for start, words in word_chunks(self.counts, self.shared, self.paired):
                along = words[:, : len(self.shared)] @ self.likeness.directions
                dense = self.dense[start : start + len(words)]
                yield start, np.hstack([words, self.likeness.columns(along), dense])

    def word_chunks(self) -> Iterator[tuple[int, Single]]:
        """(first row, float32 [rows, len(shared)]): the shared words alone."""
        if self.matrix is not None:
            yield 0, self.matrix[:, : len(self.shared)]
        else:
            yield from word_chunks(self.counts, self.shared, NO_WORDS)

    def words(self, some: NDArray[np.intp]) -> Single:
        """float32 [len(some), len(shared)]: the shared words of the prompts at these places, which
        ascend."""
        parts = []
        for start, part in self.word_chunks():
            first, last = np.searchsorted(some, [start, start + len(part)])
            parts.append(part[some[first:last] - start])
        return np.vstack(parts)

    def scale(self, shares: Shares) -> Single:
        """float32 [width]: what each column is multiplied by."""
        own = 1.0, shares.paired, shares.likeness, shares.dense
        sizes = zip(self.widths, own, strict=True)
        return np.concatenate([np.full(size, share**0.5, np.float32) for size, share in sizes])

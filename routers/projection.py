"""Hashed features in a few dense dimensions, for what needs distances between prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arbitrage.routers.features import Counts, Vocabulary, vocabulary
from arbitrage.routers.word_columns import Single, word_chunks

DIMENSIONS = 256
COLUMNS = 2000
_SEED = 20_240_814
_NONE = Vocabulary(np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Projection:
    """Prompts as float32 [n, DIMENSIONS] of length 1: weighted features times random signs, which
    keeps angles nearly as they are.

    Source: Achlioptas 2003, "Database-friendly random projections".
    """

    known: Vocabulary

    @classmethod
    def of(cls, counts: Counts) -> Projection:
        return cls(vocabulary(counts.rows, counts.bins, COLUMNS))

    def __call__(self, counts: Counts) -> Single:
        signs = np.random.default_rng(_SEED).integers(0, 2, (COLUMNS, DIMENSIONS), dtype=np.int8)
        table = (2 * signs.astype(np.float32) - 1)[: len(self.known)]
        parts = [part @ table for _, part in word_chunks(counts, self.known, _NONE)]
        made = np.vstack([np.zeros((0, DIMENSIONS), np.float32), *parts])
        length = np.linalg.norm(made, axis=1, keepdims=True)
        found: Single = np.divide(made, length, out=np.zeros_like(made), where=length > 0)
        return found

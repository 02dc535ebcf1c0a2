"""What words weigh without the matrix is what they weigh with it."""

from __future__ import annotations

import numpy as np

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import features, vocabulary, weighed
from arbitrage.routers.word_columns import word_chunks


def test_words_are_weighed_as_the_matrix_would() -> None:
    texts = ["Tell a story about a river.", "Add one and two.", "", "Add a river.", "zzz"] * 40
    size = len(texts)
    names = [str(n) for n in range(size)]
    counts = features(PromptBatch(names, texts, ["en"] * size, [None] * size))
    first = counts.rows < 7
    known = vocabulary(counts.rows[first], counts.bins[first], 30)
    none = vocabulary(counts.rows[:0], counts.bins[:0], 0)
    weights = np.random.default_rng(0).random((len(known), 3), dtype=np.float32)
    matrix = np.vstack([part for _, part in word_chunks(counts, known, none)])
    found = weighed(counts, counts.bins, known, weights)
    np.testing.assert_allclose(found, matrix @ weights, atol=1e-5)
    assert found.any()
    assert not weighed(counts, counts.bins, none, weights[:0]).any()

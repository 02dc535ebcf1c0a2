"""What a router that learns as it goes reads of a prompt: a few dense columns that never change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import Counts, Vocabulary, features, weighed
from arbitrage.routers.learning import State
from arbitrage.routers.projection import COLUMNS

Matrix = NDArray[np.float64]

WIDTH = 128
# The features that count are those of the first so many prompts; before that none does.
PROMPTS_READ = 300
_SEED = 20_240_815


def words_seen(state: State, counts: Counts) -> dict[str, NDArray[Any]]:
    """The state's arrays about words after these prompts: how many prompts have each feature, and
    once enough prompts are read, the vocabulary in their place, for good."""
    if "words" in state:
        return {"words": state["words"], "rarity": state["rarity"]}
    bins, found = np.unique(counts.bins, return_counts=True)
    read = counts.size
    if "seen_bins" in state:
        bins = np.concatenate([state["seen_bins"], bins])
        found = np.concatenate([state["seen_times"], found])
        bins, place = np.unique(bins, return_inverse=True)
        found = np.bincount(place, weights=found).astype(np.int64)
        read += int(state["seen_prompts"])
    if read < PROMPTS_READ:
        return {"seen_bins": bins, "seen_times": found, "seen_prompts": np.array(read)}
    top = np.argsort(-found, kind="stable")[:COLUMNS]
    top = np.sort(top[found[top] >= 2])
    rarity = np.log((1 + read) / (1 + found[top])) + 1
    return {"words": bins[top].astype(np.int32), "rarity": rarity.astype(np.float32)}


def word_columns(state: State, batch: PromptBatch) -> Matrix:
    """float64 [n, WIDTH]: features of the vocabulary times random signs, each row of length 1, or
    all 0 before there is one. Each row by itself, to the last digit.

    Source: Achlioptas 2003, "Database-friendly random projections".
    """
    if "words" not in state:
        return np.zeros((len(batch), WIDTH))
    known = Vocabulary(state["words"], state["rarity"])
    counts = features(batch)
    signs = np.random.default_rng(_SEED).integers(0, 2, (COLUMNS, WIDTH), dtype=np.int8)
    table = (2 * signs.astype(np.float32) - 1)[: len(known)]
    made = weighed(counts, counts.bins, known, table)
    length = np.sqrt((made * made).sum(axis=1, keepdims=True))
    unit: Matrix = np.divide(made, length, out=np.zeros_like(made), where=length > 0)
    return unit

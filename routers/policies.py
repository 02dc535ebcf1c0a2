"""The routers that are compared on a reward log, as functions that fit and then predict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from arbitrage.errors import unknown_name
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.heads import HEADS, Head
from arbitrage.routers.meaning import Meaning
from arbitrage.routers.neighbours import ClusterModel, NearestModel
from arbitrage.routers.pooling import Matrix, PooledMeans
from arbitrage.routers.reward_log import RewardLog

# Of prompts: float64 [n, n_teachers], the worth of each teacher; all equal = no preference.
Predict = Callable[[PromptBatch], Matrix]
Policy = Callable[[RewardLog, int], Predict]


def uniform(log: RewardLog, seed: int) -> Predict:
    """No preference: its reward is the mean over the teachers."""
    del seed
    width = len(log.teachers)
    return lambda batch: np.full((len(batch), width), np.nan)


def best_single(log: RewardLog, seed: int) -> Predict:
    """The teacher with the best mean reward of all."""
    del seed
    means = np.nanmean(log.rewards, axis=0)
    return lambda batch: np.tile(means, (len(batch), 1))


def fixed(log: RewardLog, seed: int) -> Predict:
    """The best teacher per language by partially pooled mean reward."""
    del seed
    means = PooledMeans.of(log.prompts.languages, log.rewards)
    return lambda batch: means.rows(batch.languages)


def nearest(log: RewardLog, seed: int) -> Predict:
    """Nearest neighbours by hashed words."""
    return NearestModel.fit(log, seed=seed).expected


def cluster(log: RewardLog, seed: int) -> Predict:
    """The best teacher per cluster of prompts."""
    return ClusterModel.fit(log, seed=seed).expected


def learned(log: RewardLog, seed: int) -> Predict:
    """The learned router as `arbitrage router fit` makes it."""
    return fit_learned(log, seed=seed).expected


POLICIES: dict[str, Policy] = {
    "uniform": uniform,
    "best_single": best_single,
    "fixed": fixed,
    "nearest": nearest,
    "cluster": cluster,
    "learned": learned,
}


EMBEDDED = "learned+embeddings"


def _variant(
    log: RewardLog, seed: int, *, head: Head = "reward", meaning: Meaning | None = None
) -> Predict:
    return fit_learned(log, head=head, seed=seed, meaning=meaning).expected


def policy(name: str, meaning: Meaning | None = None) -> Policy:
    """A router by its name, or `learned:HEAD`, or with an embedder `learned+embeddings`;
    UnknownNameError for any other."""
    kind, _, head = name.partition(":")
    if kind == "learned" and head in HEADS:
        return partial(_variant, head=next(known for known in HEADS if known == head))
    if name == EMBEDDED and meaning is not None:
        return partial(_variant, meaning=meaning)
    if name not in POLICIES:
        raise unknown_name("router that can be evaluated", name, POLICIES)
    return POLICIES[name]

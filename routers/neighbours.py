"""The baselines that compare prompts with labelled ones: nearest neighbours and clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.clusters import BORROWED, Clusters
from arbitrage.routers.features import Vocabulary, features
from arbitrage.routers.models import Arrays, means_arrays, means_from, means_settings
from arbitrage.routers.pooling import Matrix, PooledMeans, residual
from arbitrage.routers.projection import Projection
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.word_columns import Single

NEIGHBOURS = 40
REMEMBERED = 20_000
_ROWS = 2048


@dataclass(frozen=True, slots=True)
class NearestModel:
    """Mean reward of the labelled prompts most like a prompt, on top of the language's mean.

    Attributes:
        points: float32 [n, dimensions], at most 20,000 prompts drawn at random.
        gains: float32 [n, n_teachers]: their rewards less the mean of their language.
    """

    teachers: tuple[str, ...]
    means: PooledMeans
    projection: Projection
    points: Single
    gains: Single
    temperature: float

    @classmethod
    def fit(cls, log: RewardLog, *, seed: int = 0) -> NearestModel:
        means, log, gains = _prepared(log, seed)
        counts = features(log.prompts)
        projection = Projection.of(counts)
        points = projection(counts)
        return cls(log.teachers, means, projection, points, gains, _spread(log))

    def expected(self, batch: PromptBatch) -> Matrix:
        base = self.means.rows(batch.languages)
        asked = self.projection(features(batch))
        count = min(NEIGHBOURS, len(self.points))
        for start in range(0, len(asked), _ROWS):
            likeness = asked[start : start + _ROWS] @ self.points.T
            near = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
            base[start : start + _ROWS] += self.gains[near].sum(axis=1) / (count + BORROWED)
        return base

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "points": self.points,
            "gains": self.gains,
            "bins": self.projection.known.bins,
            "idf": self.projection.known.weights,
            **means_arrays(self.means),
        }

    def settings(self) -> dict[str, Any]:
        return means_settings(self.means) | {"temperature": self.temperature}

    @classmethod
    def of(
        cls, teachers: tuple[str, ...], arrays: Arrays, settings: Mapping[str, Any]
    ) -> NearestModel:
        projection = Projection(Vocabulary(arrays["bins"], arrays["idf"]))
        learned = (projection, arrays["points"], arrays["gains"], settings["temperature"])
        return cls(teachers, means_from(arrays, settings), *learned)


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """Mean reward in the cluster a prompt falls into, on top of the language's mean.

    Source: Avengers (k-means over embeddings, k about 64, teachers ranked per cluster); here with
    one cluster for every 30 prompts at most, and gains shrunk.

    Attributes:
        gains: float32 [k, n_teachers].
    """

    teachers: tuple[str, ...]
    means: PooledMeans
    clusters: Clusters
    gains: Single
    temperature: float

    @classmethod
    def fit(cls, log: RewardLog, *, seed: int = 0) -> ClusterModel:
        means = PooledMeans.of(log.prompts.languages, log.rewards)
        counts = features(log.prompts)
        clusters = Clusters.of(counts, seed=seed)
        left = residual(log.rewards, means.rows(log.prompts.languages))
        gains = clusters.gains(clusters.place(counts), left)
        return cls(log.teachers, means, clusters, gains, _spread(log))

    def expected(self, batch: PromptBatch) -> Matrix:
        found: Matrix = (
            self.means.rows(batch.languages) + self.gains[self.clusters.place(features(batch))]
        )
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "centres": self.clusters.centres,
            "gains": self.gains,
            "bins": self.clusters.projection.known.bins,
            "idf": self.clusters.projection.known.weights,
            **means_arrays(self.means),
        }

    def settings(self) -> dict[str, Any]:
        return means_settings(self.means) | {"temperature": self.temperature}

    @classmethod
    def of(
        cls, teachers: tuple[str, ...], arrays: Arrays, settings: Mapping[str, Any]
    ) -> ClusterModel:
        projection = Projection(Vocabulary(arrays["bins"], arrays["idf"]))
        clusters = Clusters(projection, arrays["centres"])
        learned = (clusters, arrays["gains"], settings["temperature"])
        return cls(teachers, means_from(arrays, settings), *learned)


def _prepared(log: RewardLog, seed: int) -> tuple[PooledMeans, RewardLog, Single]:
    """Means of the whole log; the prompts that are remembered, and their gains."""
    means = PooledMeans.of(log.prompts.languages, log.rewards)
    if len(log) > REMEMBERED:
        drawn = np.random.default_rng(seed).choice(len(log), REMEMBERED, replace=False)
        log = log.part(np.sort(drawn))
    return means, log, residual(log.rewards, means.rows(log.prompts.languages))


def _spread(log: RewardLog) -> float:
    """A temperature for drawing: the standard deviation of the teachers' mean rewards."""
    return float(np.nanstd(np.nanmean(log.rewards, axis=0))) or 1.0

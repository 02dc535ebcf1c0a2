"""Prompts in clusters of likeness, and what each cluster gains by a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.features import Counts
from arbitrage.routers.projection import Projection
from arbitrage.routers.word_columns import Single

CLUSTERS, PROMPTS_A_CLUSTER, ROUNDS = 64, 30, 25
# Centres are sought among so many prompts at most, drawn at random.
SOUGHT_AMONG = 20_000
# A neighbourhood's gain over the language's mean is shrunk as if so many prompts had shown none.
BORROWED = 10.0


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres of hashed words: float32 [k, dimensions], each of length 1."""

    projection: Projection
    centres: Single

    @classmethod
    def of(cls, counts: Counts, *, seed: int = 0) -> Clusters:
        """Spherical k-means with k = min(64, prompts / 30), made without looking at a reward.

        Source: Lloyd 1982, Dhillon and Modha 2001; begun at points drawn at random. An emptied
        cluster stays where it was.
        """
        projection = Projection.of(counts)
        points = projection(counts)
        random = np.random.default_rng(seed)
        if len(points) > SOUGHT_AMONG:
            points = points[np.sort(random.choice(len(points), SOUGHT_AMONG, replace=False))]
        count = max(1, min(CLUSTERS, len(points) // PROMPTS_A_CLUSTER))
        centres = points[random.choice(len(points), count, replace=False)].copy()
        member = np.full(len(points), -1, dtype=np.intp)
        for _ in range(ROUNDS):
            fresh = (points @ centres.T).argmax(axis=1)
            if (fresh == member).all():
                break
            member = fresh
            sums = np.zeros_like(centres)
            np.add.at(sums, member, points)
            length = np.linalg.norm(sums, axis=1, keepdims=True)
            centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
        return cls(projection, centres)

    def place(self, counts: Counts) -> NDArray[np.intp]:
        """The cluster of each prompt."""
        found: NDArray[np.intp] = (self.projection(counts) @ self.centres.T).argmax(axis=1)
        return found

    def gains(self, member: NDArray[np.intp], residual: Single) -> Single:
        """float32 [k, n_teachers]: mean of `residual` in each cluster, shrunk towards 0."""
        sums = np.zeros((len(self.centres), residual.shape[1]))
        np.add.at(sums, member, residual)
        sizes = np.bincount(member, minlength=len(self.centres))[:, None]
        shrunk: Single = (sums / (sizes + BORROWED)).astype(np.float32)
        return shrunk

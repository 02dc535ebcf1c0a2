"""How like a prompt is to some landmarks by what it is about, and what that says of teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.design import Single, matrix_chunks
from arbitrage.routers.features import Counts, Vocabulary, vocabulary, weighed
from arbitrage.routers.heads import solve_normal
from arbitrage.routers.pooling import Matrix, residual

COLUMNS, DIRECTIONS, LANDMARKS = 4000, 60, 300
# Directions and landmarks are sought among so many prompts at most, drawn at random.
SOUGHT_AMONG = 10_000
SIZES, PENALTIES = (15, 30, 60), (2.0, 8.0, 32.0)
# Likeness is exp(SHARPNESS (cosine - 1)): 1 to itself, 0.14 to a prompt that shares nothing.
SHARPNESS = 2.0
# Two landmarks may be the same prompt; variance below this is nobody's.
_LEAST_VARIANCE = 1e-4
_ROUNDS, _SPARE = 3, 10
_NONE = Vocabulary(np.zeros(0, np.int32), np.zeros(0, np.float32))


class Alike(NamedTuple):
    """One setting: penalty of the ridge, and how many directions likeness is measured in."""

    penalty: float
    size: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """Prompts as points in the main directions of their words, and landmarks among them.

    Reward as a smooth function of the point is a ridge on the likeness to the landmarks: kernel
    ridge regression with a Gaussian kernel, in the span of the landmarks. Made without looking at a
    reward.

    Source: latent semantic analysis (Deerwester et al. 1990), its directions by subspace iteration
    (Halko, Martinsson and Tropp 2011); landmarks: Williams and Seeger 2001 (Nystroem).

    Attributes:
        known: the words that are read.
        directions: float32 [len(known), DIRECTIONS], the first ones first; zeros where words are
            fewer.
        landmarks: float32 [m, DIRECTIONS], their points.
    """

    known: Vocabulary
    directions: Single
    landmarks: Single

    @classmethod
    def of(cls, counts: Counts, *, seed: int = 0) -> Likeness:
        """Directions of the words of all prompts; min(300, prompts / 3) landmarks, at random."""
        known = vocabulary(counts.rows, counts.bins, COLUMNS)
        random = np.random.default_rng(seed)
        if counts.size > SOUGHT_AMONG:
            drawn = random.choice(counts.size, SOUGHT_AMONG, replace=False)
            counts = counts.part(np.sort(drawn))
        parts = [part for _, part in matrix_chunks(counts, known, _NONE)]
        directions = _directions(parts, len(known), random)
        count = max(1, min(LANDMARKS, counts.size // 3))
        drawn = np.sort(random.choice(counts.size, count, replace=False))
        points = np.vstack([part @ directions for part in parts])
        return cls(known, directions, points[drawn])

    def points(self, counts: Counts) -> Single:
        """float32 [n, DIRECTIONS] of prompts; each by itself."""
        found: Single = weighed(counts, counts.bins, self.known, self.directions).astype(np.float32)
        return found

    def near(self, points: Single, size: int) -> Single:
        """float32 [n, m] in 0 .. 1: likeness to each landmark in the first `size` directions."""
        cosine = _unit(points[:, :size]) @ _unit(self.landmarks[:, :size]).T
        found: Single = np.exp(np.float32(SHARPNESS) * (cosine - 1))
        return found

    def whitening(self, size: int) -> Single:
        """float32 [m, m]: what makes `near` columns in which a ridge is one of the kernel."""
        among = self.near(self.landmarks, size).astype(np.float64)
        values, vectors = np.linalg.eigh(among)
        found: Single = (vectors / np.sqrt(values.clip(0) + _LEAST_VARIANCE)).astype(np.float32)
        return found

    def gains(self, points: Single, weights: Single) -> Matrix:
        """float64 [n, n_teachers]; weights: float32 [len(SIZES), m, n_teachers]."""
        total = np.zeros((len(points), weights.shape[2]))
        for size, own in zip(SIZES, weights, strict=True):
            if own.any():
                total += self.near(points, size) @ own
        return total


def fit_alike(
    likeness: Likeness, points: Single, left: Single, settings: Sequence[Alike]
) -> Single:
    """float32 [len(SIZES), m, n_teachers]: weights for `gains`, the mean over the settings.

    Args:
        left: float32 [n, n_teachers], what is to be explained.
    """
    weights = np.zeros((len(SIZES), len(likeness.landmarks), left.shape[1]), np.float32)
    for place, size in enumerate(SIZES):
        whitening = likeness.whitening(size)
        columns: Single = likeness.near(points, size) @ whitening
        gram: Single = columns.T @ columns
        right: Single = columns.T @ left
        for setting in settings:
            if setting.size == size:
                weights[place] += whitening @ solve_normal(gram, right, setting.penalty)
    return weights / np.float32(max(len(settings), 1))


def held_out_alike(
    likeness: Likeness,
    points: Single,
    rewards: Matrix,
    bases: Sequence[Matrix],
    folds: NDArray[np.intp],
) -> dict[Alike, Single]:
    """Of every setting float32 [n, n_teachers]: gains over the base, by fits on the other folds.

    Args:
        bases: of each fold, what is expected of all prompts by a fit without it.
    """
    found = {
        Alike(penalty, size): np.zeros(rewards.shape, np.float32)
        for size in SIZES
        for penalty in PENALTIES
    }
    for size in SIZES:
        columns: Single = likeness.near(points, size) @ likeness.whitening(size)
        whole: Single = columns.T @ columns
        for fold, base in enumerate(bases):
            out = folds == fold
            outside = columns[out]
            target = residual(rewards, base)
            target[out] = 0
            gram: Single = whole - outside.T @ outside
            right: Single = columns.T @ target
            for penalty in PENALTIES:
                weights = solve_normal(gram, right, penalty)
                found[Alike(penalty, size)][out] = outside @ weights
    return found


def _directions(parts: Sequence[Single], width: int, random: np.random.Generator) -> Single:
    """The first right singular vectors of the rows of all parts, float32 [width, DIRECTIONS]."""
    found = np.zeros((width, DIRECTIONS), np.float32)
    if not width:
        return found
    around = random.standard_normal((width, min(width, DIRECTIONS + _SPARE)), dtype=np.float32)
    for _ in range(_ROUNDS):
        spread = np.zeros_like(around)
        for part in parts:
            spread += part.T @ (part @ around)
        around = np.linalg.qr(spread)[0]
    square = np.zeros((around.shape[1], around.shape[1]), np.float32)
    for part in parts:
        seen = part @ around
        square += seen.T @ seen
    turned = np.linalg.eigh(square.astype(np.float64))[1][:, ::-1][:, :DIRECTIONS]
    found[:, : turned.shape[1]] = around @ turned.astype(np.float32)
    return found


def _unit(points: Single) -> Single:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    found: Single = np.divide(points, length, out=np.zeros_like(points), where=length > 0)
    return found

"""How much of each of several held-out predictions to believe."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from arbitrage.routers.pooling import Matrix


def stacked(gains: Sequence[Matrix], rewards: Matrix, base: Matrix) -> tuple[float, ...]:
    """Weights, none below zero, of the sum of gains nearest to rewards less base, in squares.

    Both are taken less their mean over a prompt's teachers: a prompt that is hard for all says
    nothing of whom to choose. Predictions must be held out, or the one that fits best wins.

    Source: stacked regressions (Breiman 1996), which asks for weights not below zero.

    Args:
        gains: each float64 [n, n_teachers].
        rewards: float64 [n, n_teachers], NaN = missing.
        base: float64 likewise, -inf = no such teacher here.

    >>> rewards = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    >>> right, wrong = rewards / 2, -rewards
    >>> [round(weight, 6) for weight in stacked([right, wrong], rewards, np.zeros((3, 2)))]
    [2.0, 0.0]
    """
    known = ~np.isnan(rewards) & np.isfinite(base)
    target = _contrasts(np.where(known, rewards - np.where(known, base, 0.0), 0.0), known)
    columns = np.stack([_contrasts(gain, known).ravel() for gain in gains], axis=1)
    square, right = columns.T @ columns, columns.T @ target.ravel()
    # Few columns, so every subset is tried: the best whose weights are all above zero.
    best, weights = 0.0, np.zeros(len(gains))
    for size in range(1, len(gains) + 1):
        for subset in map(list, combinations(range(len(gains)), size)):
            own = np.linalg.lstsq(square[np.ix_(subset, subset)], right[subset], rcond=None)[0]
            explained = float(own @ right[subset])
            if (own > 0).all() and explained > best:
                best, weights = explained, np.zeros(len(gains))
                weights[subset] = own
    return tuple(float(weight) for weight in weights)


def _contrasts(values: Matrix, known: np.typing.NDArray[np.bool_]) -> Matrix:
    """Values less the mean of their row over what is known; 0 elsewhere."""
    there = np.where(known, values, 0.0)
    mean = there.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    found: Matrix = np.where(known, there - mean, 0.0)
    return found

"""Heads of the learned router: from features to a score a teacher, on top of an offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.pooling import Matrix, residual

Single = NDArray[np.float32]
Head = Literal["reward", "kl", "pairs"]
HEADS: tuple[Head, ...] = ("reward", "kl", "pairs")

_STEPS = 80


def fit_ridge(features: Single, target: Single, penalty: float) -> Single:
    """Weights float32 [columns, teachers] of min |features W - target|^2 + penalty |W|^2.

    Solved in rows or in columns, whichever are fewer. Expected-reward regression: one independent
    column a teacher, so a teacher can join without the others changing (ERP, arXiv 2603.20217).
    """
    rows, width = features.shape
    if rows <= width:
        gram = features @ features.T
        gram[np.diag_indices(rows)] += penalty
        weights: Single = features.T @ np.linalg.solve(gram, target)
        return weights
    return solve_normal(features.T @ features, features.T @ target, penalty)


def solve_normal(gram: Single, right: Single, penalty: float) -> Single:
    """(gram + penalty I)^-1 right; `gram` is left as it is."""
    shifted = gram.copy()
    shifted[np.diag_indices(len(shifted))] += penalty
    solved: Single = np.linalg.solve(shifted, right)
    return solved


def fit_head(
    head: Head, features: Single, rewards: Matrix, offset: Matrix, penalty: float
) -> Single:
    """Weights float32 [columns, teachers] by the named head, in units of the rewards.

    Args:
        features: float32 [prompts, columns].
        rewards: float64 [prompts, teachers], NaN = missing.
        offset: float64 like rewards: what is expected before the features are read; -inf = no
            such teacher here.
        penalty: of the ridge; the other heads take as much, against their own curvature.
    """
    if head == "reward":
        return fit_ridge(features, residual(rewards, offset), penalty)
    temperature = _spread(rewards)
    fit = fit_kl if head == "kl" else fit_pairs
    return fit(features, rewards, offset, penalty / 4, temperature) * np.float32(temperature)


def _spread(rewards: Matrix) -> float:
    """Half the standard deviation of rewards within a prompt."""
    inside = rewards - np.nanmean(rewards, axis=1, keepdims=True)
    return float(np.nanstd(inside)) / 2 or 1.0


def fit_kl(
    features: Single, rewards: Matrix, offset: Matrix, penalty: float, temperature: float
) -> Single:
    """Weights of softmax(offset + features W), in units of the temperature, that minimise the KL
    divergence from softmax(rewards / temperature), missing rewards masked.

    Source: multilingual arbitrage (arXiv 2408.14960), section on learned routing; the softmax is
    our reading of it.
    """
    there = ~np.isnan(rewards)
    wanted = softmax(np.where(there, rewards, -np.inf) / temperature)
    start = np.where(there & np.isfinite(offset), offset, -1e9) / temperature

    def slope(scores: Matrix) -> Matrix:
        return softmax(start + scores) - wanted

    return descended(features, rewards.shape[1], slope, 0.5, penalty)


def fit_pairs(
    features: Single, rewards: Matrix, offset: Matrix, penalty: float, temperature: float
) -> Single:
    """Weights of Bradley-Terry scores offset + features W, in units of the temperature: of every
    two teachers of a prompt, sigmoid(difference) is the share of wins (1, 0, or 1/2 for a tie).

    Source: Bradley and Terry 1952; as a routing head, PerSyn (arXiv 2510.10925).
    """
    there = ~np.isnan(rewards)
    both = there[:, :, None] & there[:, None, :]
    gap = np.where(there, rewards, 0.0)
    won = (np.sign(gap[:, :, None] - gap[:, None, :]) + 1) / 2
    start = np.where(np.isfinite(offset), offset, 0.0) / temperature
    count = rewards.shape[1]

    def slope(scores: Matrix) -> Matrix:
        total = start + scores
        expected = 1 / (1 + np.exp(-(total[:, :, None] - total[:, None, :]).clip(-60, 60)))
        pull: Matrix = np.where(both, expected - won, 0.0).sum(axis=2) / count
        return pull

    return descended(features, count, slope, 0.25, penalty)


def softmax(scores: Matrix) -> Matrix:
    """Row by row; a row of -inf alone gives zeros.

    >>> softmax(np.array([[0.0, 0.0], [-np.inf, 3.0]])).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    top = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = powers.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    return shares


def descended(
    features: Single,
    count: int,
    slope: Callable[[Matrix], Matrix],
    curvature: float,
    penalty: float,
) -> Single:
    """Weights float32 [columns, count] of a convex loss of scores = features W, plus
    penalty |W|^2 / 2, by Nesterov's accelerated gradient from 0: 80 steps, each as long as the
    bound on curvature allows.

    Args:
        slope: from scores float64 [prompts, count] to the loss's gradient by them.
        curvature: what that gradient's own slope never exceeds.
    """
    step = 1 / (curvature * _largest(features) + penalty)
    weights: Single = np.zeros((features.shape[1], count), dtype=np.float32)
    ahead: Single = weights
    pace = 1.0
    for _ in range(_STEPS):
        pull = slope((features @ ahead).astype(np.float64)).astype(np.float32)
        descent = features.T @ pull + np.float32(penalty) * ahead
        fresh: Single = (ahead - step * descent).astype(np.float32)
        quicker = (1 + (1 + 4 * pace * pace) ** 0.5) / 2
        ahead = (fresh + (pace - 1) / quicker * (fresh - weights)).astype(np.float32)
        weights, pace = fresh, quicker
    return weights


def _largest(features: Single) -> float:
    """The largest eigenvalue of features' Gram matrix, by power iteration from its mean row."""
    vector = features.sum(axis=0) + np.float32(1e-6)
    value = 0.0
    for _ in range(15):
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        vector = features.T @ (features @ vector)
        value = float(np.linalg.norm(vector))
    return value * 1.05 + 1e-6

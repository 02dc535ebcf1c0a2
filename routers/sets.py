"""The best set of teachers for several samples of a prompt, not only the single best one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.pooling import Matrix

# Draws of the teachers' errors that stand for all there could be, the same in every process.
DRAWS = 256
_SEED = 20_240_814
_ROWS = 1024


def best_sets(expected: Matrix, noise: Matrix, size: int, price: Matrix) -> NDArray[np.bool_]:
    """bool [n, teachers]: for each prompt `size` teachers (fewer where fewer are finite) whose best
    answer is expected to be worth most, less their price.

    Rewards are taken as `expected` plus normal errors with the covariance `noise`: a second teacher
    that fails where the first does adds little. Teachers are added one by one, each time the one
    that raises the expected maximum less price most; that is at least 1 - 1/e of the best set where
    prices are 0.
    Source: Nemhauser, Wolsey and Fisher 1978 (greedy on a submodular function). Not implemented:
        several samples of one teacher, whose own errors are not known apart from the prompt's.

    Args:
        expected: float64 [n, teachers], -inf = not to be asked.
        noise: float64 [teachers, teachers], covariance of held-out errors.
        size: teachers in a set, 1 or more.
        price: float64 [teachers], reward given up for asking each.

    >>> noise = np.diag([0.01, 0.01, 1.0])
    >>> best_sets(np.array([[1.0, 0.9, 0.8]]), noise, 2, np.zeros(3)).tolist()
    [[True, False, True]]
    """
    errors = _errors(noise)
    chosen = np.zeros(expected.shape, np.bool_)
    for start in range(0, len(expected), _ROWS):
        part = expected[start : start + _ROWS]
        chosen[start : start + _ROWS] = _grown(part, errors, size, price)
    return chosen


def _grown(expected: Matrix, errors: Matrix, size: int, price: Matrix) -> NDArray[np.bool_]:
    chosen = np.zeros(expected.shape, np.bool_)
    rows = np.arange(len(expected))
    best = np.full((len(expected), len(errors)), -np.inf)
    for step in range(min(size, expected.shape[1])):
        worth = np.full(expected.shape, -np.inf)
        for column in range(expected.shape[1]):
            if step == 0:
                # With one teacher the errors, of mean 0, change nothing.
                worth[:, column] = expected[:, column] - price[column]
            else:
                reached = np.maximum(best, expected[:, column, None] + errors[:, column])
                worth[:, column] = reached.mean(axis=1) - price[column]
        worth[chosen | ~np.isfinite(expected)] = -np.inf
        column = worth.argmax(axis=1)
        open_to = np.isfinite(worth[rows, column])
        chosen[rows[open_to], column[open_to]] = True
        reached = np.maximum(best, expected[rows, column, None] + errors[:, column].T)
        best = np.where(open_to[:, None], reached, best)
    return chosen


def _errors(noise: Matrix) -> Matrix:
    """float64 [DRAWS, teachers] of mean 0 and covariance `noise`; what is below zero in it by
    missing rewards counts as zero."""
    values, vectors = np.linalg.eigh(noise)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    half = np.random.default_rng(_SEED).standard_normal((DRAWS // 2, len(noise)))
    errors: Matrix = np.vstack([half, -half]) @ root.T
    return errors


def error_covariance(rewards: Matrix, expected: Matrix) -> Matrix:
    """float64 [teachers, teachers]: covariance of rewards less what was expected of them, over the
    prompts that have both; 0 for two teachers without three prompts in common.

    >>> rewards = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> error_covariance(rewards, np.full((4, 2), 0.5)).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    there = ~np.isnan(rewards) & np.isfinite(expected)
    left = np.where(there, rewards - np.where(there, expected, 0.0), 0.0)
    seen = there.astype(np.float64)
    left = np.where(there, left - left.sum(axis=0) / np.maximum(seen.sum(axis=0), 1), 0.0)
    together = seen.T @ seen
    found: Matrix = np.where(together >= 3, left.T @ left / np.maximum(together, 1), 0.0)
    return found

"""Area under the ROC curve with intervals, and Platt's calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(scores: Floats, toxic: NDArray[np.bool_], weight: Floats | None = None) -> float:
    """Probability that a toxic text scores higher than another, ties counting half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    weight = np.ones(len(scores)) if weight is None else weight
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    up = np.add.reduceat((weight * toxic)[order], starts)
    down = np.add.reduceat((weight * ~toxic)[order], starts)
    below = np.cumsum(down) - down / 2
    return float((up * below).sum() / (up.sum() * down.sum()))


def interval(
    scores: Floats, toxic: NDArray[np.bool_], groups: Sequence[str], resamples: int = 500
) -> tuple[float, float, float]:
    """AUC with its 95 % bootstrap interval; whole groups (templates) are drawn."""
    names, group = np.unique(np.array(groups), return_inverse=True)
    random = np.random.default_rng(0)
    found = []
    while len(found) < resamples:
        drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)))
        weight = drawn[group].astype(float)
        if (weight * toxic).any() and (weight * ~toxic).any():
            found.append(auc(scores, toxic, weight))
    low, high = np.percentile(found, [2.5, 97.5])
    return auc(scores, toxic), float(low), float(high)


def platt(logits: Floats, toxic: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Slope and offset of the logistic curve through held-out logits (Platt 1999), by Newton."""
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    found = np.array([1.0, 0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ found))
        slope = design.T @ (weight * (chance - toxic))
        curve = (design * (weight * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curve + 1e-9 * np.eye(2), slope)
        found = found - step
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), float(found[1])

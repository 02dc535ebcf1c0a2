"""Folds that keep groups together, the same for everyone who asks with the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def grouped_folds(groups: Sequence[str], count: int, seed: int) -> NDArray[np.intp]:
    """The fold, 0 .. count - 1, of every row; rows of a group share one. Fewer folds where there
    are fewer groups.

    >>> folds = grouped_folds(["a", "b", "a", "c"], 3, seed=0)
    >>> bool(folds[0] == folds[2]), sorted(set(folds.tolist()))
    (True, [0, 1, 2])
    """
    names, place = np.unique(np.array(groups, dtype=object), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of: NDArray[np.intp] = (order % max(1, min(count, len(names)))).astype(np.intp)
    return fold_of[place]


def clustered_error(values: NDArray[np.float64], groups: NDArray[np.intp]) -> float:
    """Standard error of the mean of `values` where rows of one group are not independent.

    Source: the cluster-robust variance (Liang and Zeger 1986), times groups / (groups - 1).
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < 2:
        return float("inf")
    sums = np.bincount(groups, weights=values - values.mean(), minlength=count)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))

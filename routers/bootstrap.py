"""Intervals by resampling groups, and corrections for looking many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_AT_ONCE = 4_000_000
# With fewer groups than this not even agreement of all is below 5 % by the sign test.
FEWEST_GROUPS = 6
_MOST_DRAWN, _FEWEST = 20_000_000, 200
# The p-value of so many replicates a test is 0.025 at least once it is corrected for all tests.
_FOR_EACH_TEST = 80


@dataclass(frozen=True, slots=True)
class Resampled:
    """Column means over bootstrap samples of groups.

    Attributes:
        means: float64 [replicates, columns].
        groups: how many groups were drawn from.
    """

    means: Matrix
    groups: int

    def interval(self, values: Matrix | None = None) -> tuple[float, float] | None:
        """The 95 % percentile interval of column 0, or of `values`; None with fewer than two
        groups, or where a value is not known in a replicate."""
        drawn = self.means[:, 0] if values is None else values
        if self.groups < 2 or not np.isfinite(drawn).all():
            return None
        low, high = np.percentile(drawn, [2.5, 97.5])
        return float(low), float(high)


def resampled(
    values: Matrix,
    groups: Sequence[str],
    *,
    replicates: int = 2000,
    seed: int = 0,
    tests: int = 1,
) -> Resampled:
    """Bootstrap the column means of `values`, drawing whole groups with replacement.

    The same draws serve all columns, so differences between them are paired. With many groups fewer
    replicates are drawn, 200 at least: no more than 20 million groups in all.
    Source: Efron and Tibshirani 1993, chapter 6 and 8 (the group is the unit).

    Args:
        values: float64 [n, columns].
        groups: the group of each row, rows of one group are not independent.
        tests: how many p-values this one is corrected with. Where replicates are too few for any of
            them to fall below 5 % then (`two_sided` is 2 / (replicates + 1) at least), there are
            more.
    """
    names, place = np.unique(np.array(groups, dtype=object), return_inverse=True)
    count = len(names)
    sums = np.zeros((count, values.shape[1] + 1))
    np.add.at(sums, place, np.column_stack([values, np.ones(len(values))]))
    random = np.random.default_rng(seed)
    replicates = min(replicates, max(_FEWEST, _MOST_DRAWN // count))
    replicates = max(replicates, _FOR_EACH_TEST * tests)
    means = np.empty((replicates, values.shape[1]))
    step = max(1, _AT_ONCE // max(count, 1))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = random.integers(0, count, (rows, count))
        drawn += np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        total = weights @ sums
        means[start : start + rows] = total[:, :-1] / total[:, -1:]
    return Resampled(means, count)


def two_sided(differences: Matrix, groups: int | None = None) -> float:
    """The bootstrap p-value of "no difference": twice the rarer side, never 0.

    Resampling few groups repeats them and is far too sure: of two that agree every replicate
    agrees. So it is never below what the sign test could say of so many groups, 2 ** (1 - groups).

    >>> two_sided(np.array([1.0] * 19)), two_sided(np.array([1.0] * 19), 3)
    (0.1, 0.25)
    """
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    least = 0.0 if groups is None else 2.0 ** (1 - groups)
    return float(min(1.0, max(least, 2 * (rarer + 1) / (len(differences) + 1))))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false finding stays below the level.

    Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(values, dtype=np.float64)
    order = np.argsort(found, kind="stable")
    steps = found[order] * np.arange(len(found), 0, -1)
    corrected = np.empty(len(found))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in corrected]

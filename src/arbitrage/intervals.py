"""How sure a mean is: intervals that know that samples of one prompt resemble each other.

`arbitrage.routers.bootstrap` draws the same bootstrap in another way, quicker for groups by the
hundred thousand; its figures are its own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

RESAMPLES = 1000
# With more prompts than this the central limit theorem says the same as a bootstrap, at once.
BOOTSTRAPPED = 200
# Weights of this many resamples × prompts are in memory at once: 8 MB.
_WEIGHTS_AT_ONCE = 1_000_000
_Z = 1.959964


def bootstrap_means(sums: Values, counts: Values, seed: int, resamples: int = RESAMPLES) -> Values:
    """Means of the columns over prompts drawn with replacement, one row a resample.

    Whole prompts are drawn, because what one prompt's samples say is not independent.
    Source: Davison and Hinkley 1997, "Bootstrap Methods and their Application".

    Args:
        sums: float64 [prompts, columns], sum of a prompt's measured values.
        counts: float64 [prompts, columns], how many they are; 0 = none was measured.
        seed: the same seed draws the same prompts.

    Returns:
        float64 [resamples, columns]; NaN where a resample drew no measured value.
    """
    generator = np.random.default_rng(seed)
    columns = sums.shape[1]
    both = np.concatenate([sums, counts], axis=1)
    drawn = resampled_sums(both, np.ones(len(both), np.int64), resamples, generator)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Values = drawn[:, :columns] / drawn[:, columns:]
    return means


def resampled_sums(
    rows: Values | NDArray[np.int64],
    often: NDArray[np.int64],
    resamples: int,
    generator: np.random.Generator,
) -> Values:
    """Sums of the columns over rows drawn with replacement, float64 [resamples, columns].

    Rows that are equal may be given once: how often each kind is drawn is multinomial, which is the
    same bootstrap in far less time and memory.

    Args:
        rows: [kinds, columns].
        often: how many rows of each kind there are; as many as in all are drawn.
    """
    total = int(often.sum())
    block = max(1, _WEIGHTS_AT_ONCE // max(1, len(rows)))
    drawn = [np.zeros((0, rows.shape[1]))]
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn.append(generator.multinomial(total, often / total, size).astype(float) @ rows)
    return np.concatenate(drawn)


def linear_errors(sums: Values, counts: Values) -> Values:
    """What each prompt adds to the error of the columns' means, float64 [prompts, columns].

    The means' variance is the sum of their squares, times prompts / (prompts - 1); differences of
    these errors give a paired difference's. NaN where nothing was measured.
    Source: Cochran 1977, "Sampling Techniques" (the ratio estimator, linearised).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        total = counts.sum(axis=0)
        errors: Values = (sums - counts * (sums.sum(axis=0) / total)) / total
    return errors


def normal_interval(value: float, errors: Values) -> tuple[float, float]:
    """95 % interval of a value from its prompts' errors [prompts]."""
    return squared_interval(value, float(errors @ errors), len(errors))


def squared_interval(value: float, squares: float, prompts: int) -> tuple[float, float]:
    """95 % interval of a value from the sum of the squares of its prompts' errors."""
    # What is 0 may come out as a little less where it was reckoned from moments.
    spread = _Z * math.sqrt(max(squares, 0.0) * prompts / (prompts - 1))
    return value - spread, value + spread


def percentile_interval(means: Values) -> tuple[float, float]:
    """The middle 95 % of resampled values [resamples]; (NaN, NaN) where there are none."""
    known = means[~np.isnan(means)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share, of use also at 0 and 1, where a bootstrap would be sure of itself.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial
    Proportion".

    >>> tuple(round(bound, 2) for bound in wilson_interval(0.0, 9))
    (0.0, 0.3)
    """
    square = _Z**2
    centre = share + square / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    below, above = centre - spread, centre + spread
    return max(0.0, below / (1 + square / trials)), min(1.0, above / (1 + square / trials))

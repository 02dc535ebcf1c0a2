"""Which teachers differ, judged over all pairs and all measures of a language at once."""

from __future__ import annotations

from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from arbitrage.infra.report.ratios import Numbers, Ratios, Values

Mask = NDArray[np.bool_]

# Of a teacher with fewer measured prompts nothing is said.
FEWEST_PROMPTS = 5
_DRAWS = 2000


def told_apart(ratios: Ratios, columns: Numbers, shares: Mask, seed: int) -> Mask:
    """Which pairs of teachers differ in which measures: bool [measures, teachers, teachers].

    The chance that a language has any false difference is about 5 %: a gap counts where it is wider
    than the widest of all pairs and measures would be by chance 95 times of 100. That width is
    drawn from the normal distribution with the estimates' own covariances, so measures that say the
    same are paid for once (Hothorn, Bretz and Westfall 2008, "Simultaneous Inference in General
    Parametric Models"), and widened for few prompts as Student's t is. Prompts are the trials, and
    teachers that answered the same ones are compared on them in pairs; to a share one success and
    one failure are added (Agresti and Caffo 2000), so that 3 of 3 against 0 of 3 is not certain.

    Args:
        ratios: the prompts' measured values added up, 0 where the teacher did not answer or was
            not measured.
        columns: int64 [measures, teachers], where each is among the columns of `ratios`.
        shares: bool [measures], those that are 0 or 1 only.
        seed: of the draws.

    >>> passes = np.array([[1.0, 0.0]] * 12)
    >>> ratios = Ratios(2)
    >>> ratios.add(passes, np.ones_like(passes))
    >>> told_apart(ratios, np.array([[0, 1]]), np.array([True]), 0)[0, 0].tolist()
    [False, True]
    """
    measures, teachers = columns.shape
    prompts = ratios.measured[columns]
    means, covariances = _estimates(ratios, columns, shares)
    apart = np.zeros((measures, teachers, teachers), dtype=np.bool_)
    pairs = [
        (measure, one, other)
        for measure in range(measures)
        for one, other in combinations(range(teachers), 2)
        if min(prompts[measure, one], prompts[measure, other]) >= FEWEST_PROMPTS
    ]
    if not pairs:
        return apart
    which, first, second = np.array(pairs).T
    left, right = which * teachers + first, which * teachers + second
    variances = np.diag(covariances)
    spreads = np.sqrt(
        np.maximum(variances[left] + variances[right] - 2 * covariances[left, right], 0)
    )
    fewest = np.minimum(prompts[which, first], prompts[which, second])
    gaps = np.abs(means[which, first] - means[which, second])
    critical = _critical(covariances, left, right, spreads, seed)
    # Where every prompt says the same there is no spread: then as if one more had contradicted.
    widths = np.maximum(spreads * np.sqrt(fewest / (fewest - 1)), 2 * gaps / fewest)
    found = gaps > student(critical, fewest - 1) * widths
    for measure, one, other in zip(which[found], first[found], second[found], strict=True):
        apart[measure, one, other] = apart[measure, other, one] = True
    return apart


def student(normal: float, freedom: Numbers) -> Values:
    """The quantile of Student's t where the normal distribution has `normal`, for each freedom.

    Source: Abramowitz and Stegun 1964, 26.7.5, an expansion that does for 4 degrees and more.

    >>> student(1.959964, np.array([4, 16, 1000])).round(2).tolist()
    [2.78, 2.12, 1.96]
    """
    powers = [normal**power for power in range(10)]
    terms = (
        (powers[3] + powers[1]) / 4,
        (5 * powers[5] + 16 * powers[3] + 3 * powers[1]) / 96,
        (3 * powers[7] + 19 * powers[5] + 17 * powers[3] - 15 * powers[1]) / 384,
        (79 * powers[9] + 776 * powers[7] + 1482 * powers[5] - 1920 * powers[3] - 945 * powers[1])
        / 92160,
    )
    wide = np.asarray(freedom, dtype=np.float64)
    quantiles = np.full(wide.shape, normal)
    for order, term in enumerate(terms, start=1):
        quantiles += term / wide**order
    return quantiles


def _estimates(ratios: Ratios, columns: Numbers, shares: Mask) -> tuple[Values, Values]:
    """Means [measures, teachers] and covariances of all of them, [measures * teachers] squared."""
    extra = shares[:, None].astype(np.float64)
    counts, prompts = ratios.counts[columns], np.maximum(ratios.measured[columns], 1)
    # A success and a failure weigh as much as a prompt does, which may have several answers.
    weight = counts / prompts
    totals = counts + 2 * weight * extra
    totals = np.where(totals > 0, totals, 1.0)
    means = (ratios.sums[columns] + weight * extra) / totals
    errors = ratios.products(columns.ravel(), means.ravel(), totals.ravel())
    added = extra * (weight / totals) ** 2 * ((1 - means) ** 2 + means**2)
    return means, errors + np.diag(added.ravel())


def _critical(
    covariances: Values,
    left: Numbers,
    right: Numbers,
    spreads: Values,
    seed: int,
) -> float:
    """The width, in spreads, that the widest of all pairs exceeds by chance in 5 of 100 cases."""
    values, vectors = np.linalg.eigh(covariances)
    root = vectors * np.sqrt(np.maximum(values, 0))
    normal = np.random.default_rng(seed).standard_normal((_DRAWS, len(values)))
    drawn = normal @ root.T
    known = spreads > 1e-12
    if not known.any():
        return NormalDist().inv_cdf(1 - 0.025 / len(spreads))
    gaps = drawn[:, left[known]] - drawn[:, right[known]]
    widest = (np.abs(gaps) / spreads[known]).max(axis=1)
    return float(np.quantile(widest, 0.95))

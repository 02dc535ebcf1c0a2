"""Language confusion as one rate: the harmonic mean of the line pass and the word pass rate."""

from __future__ import annotations

import math

import numpy as np

from arbitrage.infra.report.ratios import Numbers, Values
from arbitrage.infra.report.tallies import Tally
from arbitrage.intervals import (
    bootstrap_means,
    percentile_interval,
    squared_interval,
    wilson_interval,
)

LINES = "language_confusion.line_pass"
WORDS = "language_confusion.word_pass"

Rates = tuple[float, float | None, float | None]


def lcpr_of(tally: Tally, columns: Numbers, seed: int) -> Rates | None:
    """LCPR with its 95 % interval; None where no answer was judged by its words.

    A bootstrap over prompts that draws both rates from the same prompts, above 200 prompts its
    normal approximation (delta method). Where that has no width, because every resample says the
    same, the harmonic means of the two rates' Wilson bounds. No interval under two prompts.
    Source: Marchisio et al. 2024, "Understanding and Mitigating Language Confusion in LLMs"
    (arXiv 2406.20052), section 3.

    Args:
        tally: a prompt's passes, and how many of its answers were judged.
        columns: int64 [2], of them line pass and word pass.
    """
    ratios = tally.ratios
    totals = ratios.counts[columns]
    if not totals.all():
        return None
    rates = ratios.sums[columns] / totals
    value = float(_harmonic(rates))
    prompts, words = map(int, ratios.measured[columns])
    if prompts < 2:
        return value, None, None
    if tally.is_few:
        sums, counts = (part[:, columns] for part in tally.few)
        low, high = percentile_interval(_harmonic(bootstrap_means(sums, counts, seed)))
    else:
        slopes = _slopes(rates)
        squares = float(slopes @ ratios.products(columns) @ slopes)
        low, high = squared_interval(value, squares, ratios.prompts)
    if not high - low > 0:
        bounds = [
            wilson_interval(float(rates[0]), prompts),
            wilson_interval(float(rates[1]), words),
        ]
        low, high = (float(_harmonic(np.array(side))) for side in zip(*bounds, strict=True))
    if math.isnan(low) or math.isnan(high):
        return value, None, None
    return value, low, high


def _harmonic(rates: Values) -> Values:
    """Harmonic mean of the last axis' two rates, 0 where both are 0, NaN where one is."""
    first, second = rates[..., 0], rates[..., 1]
    total = np.asarray(first + second)
    mean: Values = np.divide(2 * first * second, total, out=total.copy(), where=total != 0)
    return mean


def _slopes(rates: Values) -> Values:
    """How the harmonic mean changes with each rate, float64 [2]."""
    total = rates.sum()
    if not total:
        return np.zeros(2)
    slopes: Values = 2 * (rates[::-1] / total) ** 2
    return slopes

"""What a student would inherit: every attribute by teacher and language, and what choosing changed.

Passive inheritance is what a teacher's answers are like, whoever takes them; active inheritance is
the difference between all candidates and the chosen ones (LLM See, LLM Do, arXiv 2407.01490).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arbitrage.infra.report.cells import EXPECTED_MAXIMUM, PROBABILITY
from arbitrage.infra.report.confusion import LINES, WORDS, lcpr_of
from arbitrage.infra.report.ratios import Ratios
from arbitrage.infra.report.tallies import Answers, Tallies, Tally, tallies
from arbitrage.intervals import (
    bootstrap_means,
    percentile_interval,
    squared_interval,
    wilson_interval,
)

# Harmonic mean of the two rates of language confusion; see infra/report/confusion.py.
LCPR = "language_confusion.lcpr"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of one teacher's answers in one language, over prompts.

    Attributes:
        teacher: or the source of the prompts, where the profile is by source.
        prompts: with at least one measured answer.
        measured: answers that were measured.
        abstained: answers that were not.
        mean: of the measured; None where there are none.
        low, high: 95 % interval of the mean; None under two prompts.
    """

    language: str
    teacher: str
    measure: str
    prompts: int
    measured: int
    abstained: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Shift:
    """What choosing changed in one language: the mean of the chosen less that of all candidates.

    Attributes:
        prompts: with at least one measured candidate.
        low, high: 95 % interval of the difference; None where a side was never measured.
    """

    language: str
    measure: str
    prompts: int
    every: float | None
    chosen: float | None
    difference: float | None
    low: float | None
    high: float | None


def attributes(run: Path, by: str = "teacher") -> list[Attribute]:
    """Every measure by language and teacher, over all answers, kept or not.

    Of a measure with no values but 0 and 1 the mean is a share: its interval is Wilson's, with
    prompts as trials, since a bootstrap of nine failures in nine would be certain. Others have a
    bootstrap over prompts, above 200 prompts its normal approximation. The toxicity filter gives
    two more, over the samples of each prompt: `toxicity.expected_maximum`, and
    `toxicity.probability` of one sample of 0.5 or more. language_confusion gives one more,
    `language_confusion.lcpr`, the harmonic mean of its two rates.

    Args:
        by: "teacher", or "source": then the prompts' source stands in the teacher's place.
    """
    return attributes_of(tallies(run, by))


def attributes_of(found: Tallies) -> list[Attribute]:
    """`attributes`, from a run's tallies."""
    return [
        item
        for (language, teacher), answers in sorted(found.answers.items())
        for item in _attributes(language, teacher, answers, found.names)
    ]


def shifts(run: Path) -> list[Shift]:
    """Every measure by language: all answers against the chosen ones, paired by prompt."""
    return shifts_of(tallies(run))


def shifts_of(found: Tallies) -> list[Shift]:
    """`shifts`, from a run's tallies."""
    return [
        item
        for language, tally in sorted(found.chosen.items())
        for item in _shifts(language, tally, found.measures)
    ]


def _attributes(
    language: str, teacher: str, of: Answers, names: Sequence[str]
) -> Iterator[Attribute]:
    ratios, seed = of.tally.ratios, _seed(language, teacher)
    few = of.tally.is_few
    drawn = bootstrap_means(*of.tally.few, seed) if few else np.zeros((0, len(names)))
    squares = np.diag(ratios.products())
    for column, name in enumerate(names):
        measured, prompts = int(ratios.counts[column]), int(ratios.measured[column])
        per_prompt = name in (EXPECTED_MAXIMUM, PROBABILITY)
        abstained = (ratios.prompts if per_prompt else of.answers) - measured
        mean = float(ratios.means[column]) if measured else None
        low = high = None
        if mean is not None and prompts > 1:
            if of.binary[column]:
                bounds = wilson_interval(mean, prompts)
            elif few:
                bounds = percentile_interval(drawn[:, column])
            else:
                bounds = squared_interval(mean, float(squares[column]), ratios.prompts)
                bounds = _within(bounds, ratios, column)
            low, high = (None if math.isnan(bound) else bound for bound in bounds)
        yield Attribute(language, teacher, name, prompts, measured, abstained, mean, low, high)
    if LINES in names and WORDS in names:
        columns = np.array([names.index(LINES), names.index(WORDS)])
        rates = lcpr_of(of.tally, columns, seed)
        if rates is not None:
            measured, prompts = (int(part[columns[0]]) for part in (ratios.counts, ratios.measured))
            numbers = (prompts, measured, of.answers - measured)
            yield Attribute(language, teacher, LCPR, *numbers, *rates)


def _shifts(language: str, tally: Tally, measures: Sequence[str]) -> Iterator[Shift]:
    ratios, many = tally.ratios, len(measures)
    products = ratios.products()
    if tally.is_few:
        # The same prompts are drawn for both sides, so the difference is paired.
        means = bootstrap_means(*tally.few, _seed(language))
        drawn = means[:, many:] - means[:, :many]
    for every, name in enumerate(measures):
        chosen = every + many
        before, after = (_known(ratios.means[side]) for side in (every, chosen))
        difference = low = high = None
        if before is not None and after is not None:
            difference = after - before
            if tally.is_few:
                bounds = percentile_interval(drawn[:, every])
            else:
                both = products[every, every] + products[chosen, chosen]
                squares = float(both - 2 * products[every, chosen])
                bounds = squared_interval(difference, squares, ratios.prompts)
            low, high = (None if math.isnan(bound) else bound for bound in bounds)
        prompts = int(ratios.measured[every])
        yield Shift(language, name, prompts, before, after, difference, low, high)


def _within(bounds: tuple[float, float], ratios: Ratios, column: int) -> tuple[float, float]:
    """Bounds that do not leave the side of 0 on which every prompt is: no negative share."""
    low, high = bounds
    return (max(low, 0.0) if ratios.positive[column] else low), (
        min(high, 0.0) if ratios.negative[column] else high
    )


def _known(mean: float) -> float | None:
    return None if math.isnan(mean) else float(mean)


def _seed(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())

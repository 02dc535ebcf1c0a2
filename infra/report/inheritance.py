"""What a student would inherit: every attribute by teacher and language, and what choosing changed.

Passive inheritance is what a teacher's answers are like, whoever takes them; active inheritance is
the difference between all candidates and the chosen ones (LLM See, LLM Do, arXiv 2407.01490).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from arbitrage.infra.report.cells import (
    EXPECTED_MAXIMUM,
    PROBABILITY,
    Cell,
    cells,
    matrix,
    sides,
)
from arbitrage.infra.report.confusion import LINES, WORDS, lcpr_of
from arbitrage.intervals import (
    BOOTSTRAPPED,
    bootstrap_means,
    linear_errors,
    normal_interval,
    percentile_interval,
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
    return attributes_of(cells(run, ("language", "teacher"), by))


def attributes_of(by_teacher: Iterable[Cell]) -> list[Attribute]:
    """`attributes`, from cells by language and teacher."""
    found = []
    for (language, teacher), cell in by_teacher:
        found += list(_attributes(str(language), str(teacher), cell))
    return found


def shifts(run: Path) -> list[Shift]:
    """Every measure by language: all answers against the chosen ones, paired by prompt."""
    found = []
    for (language,), cell in cells(run, ("language",)):
        found += list(_shifts(str(language), cell))
    return found


def _attributes(language: str, teacher: str, cell: pl.DataFrame) -> Iterator[Attribute]:
    names = sides(cell)
    sums, counts = matrix(cell, names, "sum"), matrix(cell, names, "n")
    answers = int(cell["answers"].sum())
    few = len(cell) <= BOOTSTRAPPED
    seed = _seed(language, teacher)
    spread = bootstrap_means(sums, counts, seed) if few else linear_errors(sums, counts)
    for column, name in enumerate(names):
        measured, prompts = int(counts[:, column].sum()), int((counts[:, column] > 0).sum())
        per_prompt = name in (EXPECTED_MAXIMUM, PROBABILITY)
        abstained = (len(cell) if per_prompt else answers) - measured
        mean = float(sums[:, column].sum() / measured) if measured else None
        low = high = None
        if mean is not None and prompts > 1:
            binary = bool((cell[f"{name}:binary"]).all())
            if binary:
                bounds = wilson_interval(mean, prompts)
            elif few:
                bounds = percentile_interval(spread[:, column])
            else:
                bounds = _within(normal_interval(mean, spread[:, column]), sums[:, column])
            low, high = (None if math.isnan(bound) else bound for bound in bounds)
        yield Attribute(language, teacher, name, prompts, measured, abstained, mean, low, high)
    if LINES in names and WORDS in names:
        columns = [names.index(LINES), names.index(WORDS)]
        rates = lcpr_of(sums[:, columns], counts[:, columns], seed)
        if rates is not None:
            judged = counts[:, columns[0]]
            measured, prompts = int(judged.sum()), int((judged > 0).sum())
            numbers = (prompts, measured, answers - measured)
            yield Attribute(language, teacher, LCPR, *numbers, *rates)


def _shifts(language: str, cell: pl.DataFrame) -> Iterator[Shift]:
    names = sides(cell, "chosen")
    every = (matrix(cell, names, "sum"), matrix(cell, names, "n"))
    chosen = (matrix(cell, names, "chosen"), matrix(cell, names, "n_chosen"))
    seed, few = _seed(language), len(cell) <= BOOTSTRAPPED
    if few:
        # The same seed draws the same prompts on both sides, so the difference is paired.
        apart = bootstrap_means(*chosen, seed) - bootstrap_means(*every, seed)
    else:
        apart = linear_errors(*chosen) - linear_errors(*every)
    for column, name in enumerate(names):
        before, after = (_mean(sums[:, column], n[:, column]) for sums, n in (every, chosen))
        difference = low = high = None
        if before is not None and after is not None:
            difference = after - before
            errors = apart[:, column]
            bounds = percentile_interval(errors) if few else normal_interval(difference, errors)
            low, high = (None if math.isnan(bound) else bound for bound in bounds)
        prompts = int((every[1][:, column] > 0).sum())
        yield Shift(language, name, prompts, before, after, difference, low, high)


def _within(bounds: tuple[float, float], sums: np.ndarray) -> tuple[float, float]:
    """Bounds that do not leave the side of 0 on which every prompt is: no negative share."""
    low, high = bounds
    return (max(low, 0.0) if (sums >= 0).all() else low), (
        min(high, 0.0) if (sums <= 0).all() else high
    )


def _mean(sums: np.ndarray, counts: np.ndarray) -> float | None:
    total = float(counts.sum())
    return float(sums.sum()) / total if total else None


def _seed(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())

"""How every score is spread in each language: a histogram of all answers and of the chosen ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from arbitrage.infra.report.order import DIGITS
from arbitrage.infra.report.parts import answered, batches, measures_of, parts
from arbitrage.infra.report.scales import Bars, Scale

# As much as is drawn; which measures come first says `in_order`.
MOST_MEASURES = 12


@dataclass(frozen=True, slots=True)
class Spread:
    """One score in one language.

    Attributes:
        every: answers in each of BINS bins from the measure's low to its high.
        chosen: those of them that were chosen.
        median: of all measured answers; None where there are none.
        measured, abstained: answers with and without a value.
    """

    language: str
    every: tuple[int, ...]
    chosen: tuple[int, ...]
    median: float | None
    measured: int
    abstained: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """One score over all languages, on one scale.

    Attributes:
        low, high: ends of the scale: the 0.5 % and 99.5 % quantiles of all answers; what lies
            beyond them is in the bins at the ends.
        objective: whether answers were chosen by it.
        spreads: the languages with the most answers, in the order of their tags.
        languages: how many languages there are.
    """

    measure: str
    low: float
    high: float
    objective: bool
    spreads: tuple[Spread, ...]
    languages: int


def distributions(run: Path, objective: Sequence[str] = ()) -> list[Distribution]:
    """Distributions of a run's scores, those it chose by first, some shards in memory at a time.

    Medians and quantiles are exact; the files are read four times for them and the bins.

    Args:
        objective: measures named in select.objective.

    Failed requests have no answer and are left out, as are measures that always abstained.
    """
    paths = parts(run, "candidates")
    if not paths:
        return []
    every = in_order(measures_of(answered(paths[:1])), objective)[:MOST_MEASURES]
    scales = {measure: Scale() for measure in every}
    for _ in DIGITS:
        for frame in _values(paths, list(scales)):
            for measure, scale in scales.items():
                scale.count(frame, measure)
        for scale in scales.values():
            scale.end_pass()
        scales = {measure: scale for measure, scale in scales.items() if scale.measured}
    bars = {measure: Bars(scale.low, scale.high) for measure, scale in scales.items()}
    for frame in _values(paths, list(scales)):
        for measure, of in bars.items():
            of.count(frame, measure)
    return [
        Distribution(
            measure,
            scale.low,
            scale.high,
            measure in objective,
            tuple(_spread(tag, scale, bars[measure]) for tag in scale.shown),
            len(scale.languages),
        )
        for measure, scale in scales.items()
    ]


def _values(paths: Sequence[Path], measures: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The scores of some shards at a time, in the order of languages."""
    if not measures:
        return
    columns = [pl.col(name).fill_nan(None) for name in measures]
    for some in batches(paths):
        frame = answered(some).select("language", "chosen", *columns)
        yield frame.collect(engine="streaming").sort("language")


def _spread(language: str, scale: Scale, bars: Bars) -> Spread:
    of = scale.languages[language]
    every, chosen = bars.of(language)
    return Spread(language, every, chosen, of.median, of.ordered.size, of.abstained)


def objective_of(manifest: Mapping[str, Any]) -> list[str]:
    """The measures a run chose by, from its config: "maximize:A.B" or a table of weights.

    >>> objective_of({"config": {"select": {"objective": "maximize:length.words"}}})
    ['length.words']
    """
    objective = manifest.get("config", {}).get("select", {}).get("objective")
    if isinstance(objective, str):
        return [objective.partition(":")[2]]
    return list(objective or ())


def in_order(measures: Sequence[str], objective: Sequence[str]) -> list[str]:
    """Measures that were chosen by, then the others by name."""
    return sorted(measures, key=lambda name: (name not in objective, name))

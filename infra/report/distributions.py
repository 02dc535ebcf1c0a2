"""How every score is spread in each language: a histogram of all answers and of the chosen ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

BINS = 32
# As much as is drawn; which measures come first says `in_order`.
MOST_MEASURES, MOST_LANGUAGES = 12, 40
_ENDS = (0.005, 0.995)


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
    """Distributions of a run's scores, those it chose by first, one score in memory at a time.

    Args:
        objective: measures named in select.objective.

    Failed requests have no answer and are left out, as are measures that always abstained.
    """
    paths = sorted((run / "candidates").glob("part-*.arrow"))
    if not paths:
        return []
    answered = pl.scan_ipc(paths).filter(pl.col("error").is_null(), pl.col("text").is_not_null())
    kinds = answered.collect_schema().items()
    measures = [name for name, kind in kinds if "." in name and kind == pl.Float32]
    found = []
    for measure in in_order(measures, objective)[:MOST_MEASURES]:
        columns = ["language", "chosen", pl.col(measure).fill_nan(None).alias("value")]
        frame = answered.select(columns).collect(engine="streaming")
        if frame["value"].null_count() < len(frame):
            found.append(_distribution(measure, frame, measure in objective))
    return found


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


def _distribution(measure: str, frame: pl.DataFrame, objective: bool) -> Distribution:
    values = frame["value"].drop_nulls().to_numpy()
    finite = values[np.isfinite(values)]
    low, high = (float(end) for end in np.quantile(finite if len(finite) else [0.0], _ENDS))
    if low == high:
        low, high = float(finite.min(initial=low)), float(finite.max(initial=high))
    span = high - low
    place = ((pl.col("value") - low) / span if span else pl.col("value") * 0) * BINS
    binned = frame.with_columns(
        bin=pl.when(pl.col("value").is_not_null()).then(
            place.fill_nan(0).clip(0, BINS - 1).cast(pl.Int32)
        )
    )
    sums = binned.group_by("language").agg(
        median=pl.col("value").median(),
        measured=pl.col("value").count(),
        abstained=pl.col("value").null_count(),
    )
    ranked = sums.sort(
        pl.col("measured") + pl.col("abstained"), "language", descending=[True, False]
    )
    shown = ranked.head(MOST_LANGUAGES).sort("language")
    counted = (
        binned.drop_nulls("bin")
        .group_by("language", "bin")
        .agg(every=pl.len(), chosen=pl.col("chosen").sum())
    )
    bars: dict[str, tuple[list[int], list[int]]] = {}
    for language, number, every, chosen in counted.iter_rows():
        all_of, chosen_of = bars.setdefault(language, ([0] * BINS, [0] * BINS))
        all_of[number], chosen_of[number] = every, chosen
    spreads = []
    for language, median, measured, abstained in shown.iter_rows():
        all_of, chosen_of = bars.get(language, ([0] * BINS, [0] * BINS))
        numbers = (median, measured, abstained)
        spreads.append(Spread(language, tuple(all_of), tuple(chosen_of), *numbers))
    return Distribution(measure, low, high, objective, tuple(spreads), len(sums))

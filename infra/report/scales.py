"""One score over all shards: the ends of its scale, medians by language, bars by language."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from arbitrage.infra.report.cells import spans
from arbitrage.infra.report.order import Ordered, between, keys, median_ranks, quantile_ranks

BINS = 32
# As many languages as are drawn.
MOST_LANGUAGES = 40
_ENDS = (0.005, 0.995)


@dataclass(slots=True)
class OfLanguage:
    """The values of one language, and how many answers have none."""

    ordered: Ordered = field(default_factory=Ordered)
    abstained: int = 0

    @property
    def median(self) -> float | None:
        """As polars has it, which reckons in 32 bits; None where there are no values."""
        if not self.ordered.size:
            return None
        middle = [self.ordered[rank] for rank in median_ranks(self.ordered.size)]
        found = pl.Series(middle, dtype=pl.Float32).median()
        return found if isinstance(found, float) else None


@dataclass(slots=True)
class Scale:
    """The ends of one score's scale and the medians of its languages, in `order.DIGITS` passes.

    Attributes:
        languages: all, with their values; from the second pass on those of `shown` are counted.
        shown: the languages with the most answers, in the order of their tags.
    """

    languages: dict[str, OfLanguage] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    _finite: Ordered = field(default_factory=Ordered)

    def count(self, frame: pl.DataFrame, measure: str) -> None:
        """Count some shards' answers: `language`, in order, and the measure."""
        for (language,), at in spans(frame, ["language"]):
            if self.shown and language not in self.shown:
                continue
            values = frame[measure][at].drop_nulls().to_numpy()
            of = self.languages.setdefault(language, OfLanguage())
            if not self.shown:
                of.abstained += at.stop - at.start - len(values)
            of.ordered.count(keys(values))
        values = frame[measure].drop_nulls().to_numpy()
        self._finite.count(keys(values[np.isfinite(values)]))

    def end_pass(self) -> None:
        """End a pass over all shards."""
        if not self.shown:
            self._begin_seeking()
        for tag in self.shown:
            self.languages[tag].ordered.end_pass()
        self._finite.end_pass()

    def _begin_seeking(self) -> None:
        def rank(tag: str) -> tuple[int, str]:
            return -(self.languages[tag].ordered.size + self.languages[tag].abstained), tag

        self.shown = sorted(sorted(self.languages, key=rank)[:MOST_LANGUAGES])
        for tag in self.shown:
            ordered = self.languages[tag].ordered
            ordered.seek(median_ranks(ordered.size) if ordered.size else ())
        size = self._finite.size
        ends = [quantile_ranks(size, end)[:2] for end in _ENDS] if size else []
        self._finite.seek({rank for pair in ends for rank in (0, *pair, size - 1)})

    @property
    def measured(self) -> int:
        """Answers with a value, over all languages."""
        return sum(of.ordered.size for of in self.languages.values())

    @property
    def low(self) -> float:
        return self._ends[0]

    @property
    def high(self) -> float:
        return self._ends[1]

    @property
    def _ends(self) -> tuple[float, float]:
        """The quantiles, or, where they are the same, the least and the greatest finite value."""
        size, finite = self._finite.size, self._finite
        if not size:
            return 0.0, 0.0
        found = []
        for end in _ENDS:
            below, above, share = quantile_ranks(size, end)
            found.append(between(finite[below], finite[above], share))
        low, high = found
        if low == high:
            return min(low, float(finite[0])), max(high, float(finite[size - 1]))
        return low, high


@dataclass(slots=True)
class Bars:
    """Answers of each language in BINS bins between the ends of a scale, and the chosen of them."""

    low: float
    high: float
    _bars: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def count(self, frame: pl.DataFrame, measure: str) -> None:
        """Count some shards' answers: `language`, `chosen` and the measure."""
        span, value = self.high - self.low, pl.col(measure)
        place = ((value - self.low) / span if span else value * 0) * BINS
        counted = (
            frame.drop_nulls(measure)
            .with_columns(bin=place.fill_nan(0).clip(0, BINS - 1).cast(pl.Int32))
            .group_by("language", "bin")
            .agg(every=pl.len(), chosen=pl.col("chosen").sum())
        )
        for language, number, every, chosen in counted.iter_rows():
            all_of, chosen_of = self._bars.setdefault(
                language, (np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))
            )
            all_of[number] += every
            chosen_of[number] += chosen

    def of(self, language: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """All answers of a language by bin, and the chosen ones."""
        none = (np.zeros(BINS, np.int64),) * 2
        every, chosen = self._bars.get(language, none)
        return tuple(every.tolist()), tuple(chosen.tolist())

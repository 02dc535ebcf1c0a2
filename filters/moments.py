"""Mean and variance per language and measure, mergeable over shards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.filters.scoring import score_array


@dataclass(frozen=True, slots=True)
class Moment:
    """Count, mean and sum of squared deviations (M2) of n >= 1 float32 scores, in float64.

    Float64 sums equal float32 scores exactly (up to 2**29 of them), so that M2 is exactly 0, not
    rounding noise, where all scores are equal.
    Source: Chan, Golub and LeVeque 1979, pairwise update.
    """

    count: int
    mean: float
    m2: float

    @property
    def deviation(self) -> float:
        """Population standard deviation; exactly 0 where all scores are equal.

        >>> Moment(2, 1.0, 2.0).deviation
        1.0
        """
        return math.sqrt(self.m2 / self.count)

    def merge(self, other: Moment) -> Moment:
        """The moment of both samples together."""
        count = self.count + other.count
        delta = other.mean - self.mean
        return Moment(
            count,
            self.mean + delta * other.count / count,
            self.m2 + other.m2 + delta * delta * self.count * other.count / count,
        )


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of every (language, measure) that has at least one score.

    Merging is associative up to rounding: merge shards in their order for the same bytes each time.
    """

    table: Mapping[tuple[str, str], Moment] = field(default_factory=dict)

    @classmethod
    def of(cls, scored: pa.Table, measures: Iterable[str]) -> Moments:
        """Moments of one shard over all its candidates that have a score, rejected ones too."""
        languages = scored.column("language").combine_chunks().dictionary_encode()
        codes, names = languages.indices.to_numpy(), languages.dictionary.to_pylist()
        table: dict[tuple[str, str], Moment] = {}
        for measure in measures:
            scores = score_array(scored, measure).astype(np.float64)
            measured = ~np.isnan(scores)
            for code, moment in _grouped(codes[measured], scores[measured], len(names)):
                table[names[code], measure] = moment
        return cls(table)

    def get(self, language: str, measure: str) -> Moment | None:
        """The moment of one language and measure, None where nothing was measured."""
        return self.table.get((language, measure))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of candidates together."""
        merged = dict(self.table)
        for key, moment in other.table.items():
            merged[key] = merged[key].merge(moment) if key in merged else moment
        return Moments(merged)

    def to_json(self) -> list[dict[str, Any]]:
        """One JSON-like object a (language, measure), sorted; floats round-trip exactly."""
        return [
            {
                "language": language,
                "measure": measure,
                "count": moment.count,
                "mean": moment.mean,
                "m2": moment.m2,
            }
            for (language, measure), moment in sorted(self.table.items())
        ]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Moments:
        """The inverse of `to_json`."""
        return cls(
            {
                (item["language"], item["measure"]): Moment(item["count"], item["mean"], item["m2"])
                for item in data
            }
        )


def _grouped(
    codes: NDArray[np.int32], scores: NDArray[np.float64], groups: int
) -> Iterator[tuple[int, Moment]]:
    """(code, moment) of every group that has a score."""
    counts = np.bincount(codes, minlength=groups)
    safe = np.maximum(counts, 1)
    means = np.bincount(codes, scores, groups) / safe
    squares = np.bincount(codes, np.square(scores - means[codes]), groups)
    for code in np.flatnonzero(counts).tolist():
        yield code, Moment(int(counts[code]), float(means[code]), float(squares[code]))

"""Limits by language on what is chosen: the best of the whole run, found shard by shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.config import RunConfig

Mask = NDArray[np.bool_]
Values = NDArray[np.float64]

# Rows held before the best are taken from them again, above what the limits themselves hold.
_SLACK = 200_000
_LARGEST = np.finfo(np.float64).max
_KEY = ["language", "value", "candidate_id"]
_SCHEMA = {"language": pl.String, "value": pl.Float64, "candidate_id": pl.String}


@dataclass(frozen=True, slots=True)
class Limit:
    """What one language's limit lets through.

    Attributes:
        limit: most candidates chosen; None = as many as there are.
        available: candidates that would be chosen without it, in the whole run.
        value, candidate_id: the last one let through, by the objective (None: not measured) and
            by its id; both None where all are, or none.
    """

    language: str
    limit: int | None
    available: int
    value: float | None = None
    candidate_id: str | None = None

    @property
    def chosen(self) -> int:
        return self.available if self.limit is None else min(self.limit, self.available)

    @property
    def last(self) -> tuple[float, str]:
        """The value and id that a candidate must reach; beyond every value where none may."""
        if self.candidate_id is None:
            return np.inf, ""
        return -np.inf if self.value is None else self.value, self.candidate_id


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run by language; empty = nothing is limited."""

    table: Mapping[str, Limit] = field(default_factory=dict)

    def within(self, table: pa.Table, values: Values, chosen: Mask) -> Mask:
        """bool [n]: those of `chosen` that are among the best of their language.

        Better: the higher value, a measured one before one that is not (NaN), then the lower
        candidate_id. Depends on the row alone, so on no order of shards.
        """
        cut = [item for item in self.table.values() if item.chosen < item.available]
        if not cut:
            return chosen
        last = pl.DataFrame(
            [(item.language, *item.last) for item in cut],
            schema={"language": pl.String, "last": pl.Float64, "last_id": pl.String},
            orient="row",
        )
        rows = _keys(table, values).join(last, on="language", how="left", maintain_order="left")
        inside = (
            pl.col("last").is_null()
            | (pl.col("value") > pl.col("last"))
            | ((pl.col("value") == pl.col("last")) & (pl.col("candidate_id") <= pl.col("last_id")))
        )
        found: Mask = chosen & rows.select(inside).to_series().to_numpy()
        return found

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(item) for _, item in sorted(self.table.items())]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Limits:
        return cls({item["language"]: Limit(**item) for item in data})


class BestSoFar:
    """Gathers the best candidates of each limited language, in any order of the shards.

    Holds at most the limits' sum plus some 200,000 rows, and a count a language.
    """

    def __init__(self, config: RunConfig) -> None:
        self._most = config.select.most
        self._best = pl.DataFrame(schema=_SCHEMA)
        self._available: dict[str, int] = {}
        self._next_trim = _SLACK

    def add(self, table: pa.Table, values: Values, chosen: Mask) -> None:
        """Take in one shard: its candidates, the objective's values, and who would be chosen."""
        rows = _keys(table, values).filter(pl.Series(chosen))
        for language, count in rows.group_by("language").len().iter_rows():
            self._available[language] = self._available.get(language, 0) + count
        limited = [tag for tag in self._available if self._most(tag) is not None]
        self._best = pl.concat([self._best, rows.filter(pl.col("language").is_in(limited))])
        if len(self._best) > self._next_trim:
            self._trim()
            self._next_trim = len(self._best) + _SLACK

    def limits(self) -> Limits:
        """The limits of all that was added."""
        self._trim()
        last = self._best.group_by("language", maintain_order=True).last()
        ends = {row["language"]: row for row in last.iter_rows(named=True)}
        found = {}
        for language, available in self._available.items():
            limit = self._most(language)
            if not limit or available <= limit:
                found[language] = Limit(language, limit, available)
                continue
            value = ends[language]["value"]
            found[language] = Limit(
                language,
                limit,
                available,
                None if value == -np.inf else value,
                ends[language]["candidate_id"],
            )
        return Limits(found)

    def _trim(self) -> None:
        """Keep of each language only as many as its limit, best first."""
        ranked = self._best.sort(_KEY, descending=[False, True, False])
        parts = [
            part.head(self._most(str(language)) or 0)
            for (language,), part in ranked.group_by("language", maintain_order=True)
        ]
        self._best = pl.concat(parts) if parts else ranked


def _keys(table: pa.Table, values: Values) -> pl.DataFrame:
    """language, value and candidate_id of each row; a value that is NaN is less than any other."""
    frame = pl.DataFrame(table.select(["language", "candidate_id"]))
    worth = np.where(np.isnan(values), -np.inf, np.clip(values, -_LARGEST, _LARGEST))
    return frame.with_columns(value=pl.Series(worth, dtype=pl.Float64)).select(_KEY)

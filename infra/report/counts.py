"""What became of every request and every prompt: mergeable counts by language, teacher, reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl
import pyarrow as pa

# Reasons for rows that bring none: nothing may be lost in a table for want of a word.
NO_TEXT = "generate.no_text"
NO_REASON = "decide.no_reason"
NO_LANGUAGE = "und"

_NUMBERS = ("requested", "kept", "chosen", "rejected", "failed")


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of one teacher in one language; `requested == kept + rejected + failed`.

    Attributes:
        chosen: of the kept, those selected.
        reasons: of rejections, by `filter.cause`. A candidate with two reasons counts once in
            `rejected` and once in each reason, so these may add up to more than `rejected`.
        failures: of failed requests, by error.
    """

    requested: int = 0
    kept: int = 0
    chosen: int = 0
    rejected: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Cell) -> Cell:
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return Cell(
            **numbers,
            reasons=self.reasons + other.reasons,
            failures=self.failures + other.failures,
        )

    def to_json(self) -> dict[str, Any]:
        """Numbers, `reasons` of rejections and failures, and `failures` alone."""
        every = self.reasons + self.failures
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {**numbers, "reasons": _sorted(every), "failures": _sorted(self.failures)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        failures = Counter(data.get("failures", {}))
        reasons = Counter(data.get("reasons", {})) - failures
        numbers = {name: int(data.get(name, 0)) for name in _NUMBERS}
        return cls(**numbers, reasons=reasons, failures=failures)


@dataclass(frozen=True, slots=True)
class Unroutable:
    """Input rows of one language that no teacher was asked about, and why."""

    prompts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Unroutable) -> Unroutable:
        return Unroutable(self.prompts + other.prompts, self.reasons + other.reasons)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a shard, or of many: `merge` is associative and commutative, `Counts()` neutral.

    Attributes:
        cells: (language, teacher) -> its counts.
        unroutable: language -> input rows without a route ("und" where it is not known).
    """

    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    unroutable: Mapping[str, Unroutable] = field(default_factory=dict)

    def merge(self, other: Counts) -> Counts:
        return Counts(
            {
                key: self.cells.get(key, Cell()) + other.cells.get(key, Cell())
                for key in sorted({*self.cells, *other.cells})
            },
            {
                key: self.unroutable.get(key, Unroutable())
                + other.unroutable.get(key, Unroutable())
                for key in sorted({*self.unroutable, *other.unroutable})
            },
        )

    @property
    def languages(self) -> list[str]:
        return sorted({language for language, _ in self.cells})

    @property
    def teachers(self) -> list[str]:
        return sorted({teacher for _, teacher in self.cells})

    def total(self, *, language: str | None = None, teacher: str | None = None) -> Cell:
        """The sum over all cells, or over those of a language or a teacher."""
        total = Cell()
        for (its_language, its_teacher), cell in self.cells.items():
            if language in (None, its_language) and teacher in (None, its_teacher):
                total = total + cell
        return total

    @property
    def unroutable_total(self) -> Unroutable:
        total = Unroutable()
        for item in self.unroutable.values():
            total = total + item
        return total

    def to_json(self) -> dict[str, Any]:
        """JSON-like: `cells`, one a language and teacher, and `unroutable`, one a language."""
        return {
            "cells": [
                {"language": language, "teacher": teacher, **cell.to_json()}
                for (language, teacher), cell in sorted(self.cells.items())
            ],
            "unroutable": [
                {"language": language, "prompts": item.prompts, "reasons": _sorted(item.reasons)}
                for language, item in sorted(self.unroutable.items())
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Counts:
        """From what `to_json` gave, or from its list of cells alone."""
        mapping = data if isinstance(data, Mapping) else {"cells": data}
        cells = {
            (item["language"], item["teacher"]): Cell.from_json(item)
            for item in mapping.get("cells", [])
        }
        unroutable = {
            item["language"]: Unroutable(int(item["prompts"]), Counter(item["reasons"]))
            for item in mapping.get("unroutable", [])
        }
        return cls(cells, unroutable)


def count_shard(candidates: pa.Table, graveyard: pa.Table) -> Counts:
    """Counts of one shard: its decided candidates, and the unroutable prompts of its graveyard."""
    return count_cells(candidates).merge(count_unroutable(graveyard))


def count_cells(candidates: pa.Table) -> Counts:
    """Counts of decided candidates, by language and teacher.

    Failed: has an `error`, or no text. Rejected: neither failed nor kept.
    """
    columns = ["language", "teacher", "error", "text", "kept", "chosen", "reasons"]
    frame = pl.DataFrame(candidates.select(columns))
    failed = pl.col("error").is_not_null() | pl.col("text").is_null()
    frame = frame.select(
        "language",
        "teacher",
        failed=failed,
        kept=pl.col("kept") & ~failed,
        chosen=pl.col("chosen") & pl.col("kept") & ~failed,
        why=_why(failed),
    )
    sums = frame.group_by("language", "teacher").agg(
        requested=pl.len(),
        kept=pl.col("kept").sum(),
        chosen=pl.col("chosen").sum(),
        rejected=(~pl.col("failed") & ~pl.col("kept")).sum(),
        failed=pl.col("failed").sum(),
    )
    lost = frame.filter(~pl.col("kept")).explode("why")
    whys = lost.group_by("language", "teacher", "failed", "why").len()
    found: dict[tuple[str, str, bool], Counter[str]] = {}
    for language, teacher, has_failed, why, count in whys.iter_rows():
        found.setdefault((language, teacher, has_failed), Counter())[why] += count
    cells = {
        (row["language"], row["teacher"]): Cell(
            **{name: row[name] for name in _NUMBERS},
            reasons=found.get((row["language"], row["teacher"], False), Counter()),
            failures=found.get((row["language"], row["teacher"], True), Counter()),
        )
        for row in sums.iter_rows(named=True)
    }
    return Counts(dict(sorted(cells.items())))


def count_unroutable(graveyard: pa.Table) -> Counts:
    """Counts of the input rows that were never routed, by language."""
    frame = pl.DataFrame(graveyard.select(["kind", "language", "reasons"]))
    found: dict[str, Unroutable] = {}
    for language, reasons in frame.filter(kind="prompt").select("language", "reasons").iter_rows():
        key = language or NO_LANGUAGE
        whys = Counter(set(reasons or [NO_REASON]))
        found[key] = found.get(key, Unroutable()) + Unroutable(1, whys)
    return Counts({}, dict(sorted(found.items())))


def merged(parts: Iterable[Counts]) -> Counts:
    """All parts together."""
    total = Counts()
    for part in parts:
        total = total.merge(part)
    return total


def _why(failed: pl.Expr) -> pl.Expr:
    """Each row's reasons, once each, never an empty list."""
    stated = pl.col("reasons").list.unique(maintain_order=True)
    error = pl.col("error").fill_null(NO_TEXT)
    none = pl.when(failed).then(error).otherwise(pl.lit(NO_REASON)).reshape((-1, 1))
    without = pl.col("reasons").list.len().fill_null(0) == 0
    return pl.when(without | failed).then(none.cast(pl.List(pl.String))).otherwise(stated)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name, so that equal counts give equal bytes."""
    return dict(
        sorted(cast("dict[str, int]", counter).items(), key=lambda item: (-item[1], item[0]))
    )

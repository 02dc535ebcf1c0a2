"""What a view holds, counted while it is written: per language rows, lengths, teacher shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

_SUMS = ("chosen_characters", "rejected_characters", "margin", "k")
# Column -> the name its counts go by; a teacher column says whose answers a row teaches.
_COUNTED = {
    "chosen_teacher": "teachers",
    "teacher": "teachers",
    "policy": "policies",
    "rejected_as": "rejected_as",
    "rounds": "rounds",
    "label": "labels",
}


class Summary:
    """Counts and sums by language of a view's rows, added up table after table."""

    def __init__(self) -> None:
        self._languages: dict[str, dict[str, Any]] = {}

    def watched(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables, counted as they pass."""
        for table in tables:
            self.add(table)
            yield table

    def add(self, table: pa.Table) -> None:
        """Count a table; one without a `language` column, as a view of your own may be, is not."""
        if "language" not in table.column_names:
            return
        counted = [name for name in _COUNTED if name in table.column_names]
        sums = [name for name in _SUMS if name in table.column_names]
        table = table.select(["language", *counted, *sums])
        for row in _grouped(table, ["language"], [(name, "sum") for name in sums]):
            of = self._languages.setdefault(row["language"], {"rows": 0})
            of["rows"] += row["count_all"]
            for name in sums:
                of[name] = of.get(name, 0) + row[f"{name}_sum"]
        for name in counted:
            for row in _grouped(table, ["language", name], []):
                counts = self._languages[row["language"]].setdefault(_COUNTED[name], Counter())
                if row[name] is not None:
                    counts[_word(row[name])] += row["count_all"]

    def to_json(self) -> dict[str, Any]:
        """By language, sorted: `rows`, sums under the names of their columns, and counts."""
        return {
            language: {
                name: dict(sorted(value.items())) if isinstance(value, Counter) else value
                for name, value in of.items()
            }
            for language, of in sorted(self._languages.items())
        }


def total(languages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All languages of a summary together."""
    found: dict[str, Any] = {"rows": 0}
    for of in languages.values():
        for name, value in of.items():
            if isinstance(value, Mapping):
                found[name] = dict(sorted((Counter(found.get(name, {})) + Counter(value)).items()))
            else:
                found[name] = found.get(name, 0) + value
    return found


def _grouped(table: pa.Table, keys: list[str], sums: list[tuple[str, str]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        table.group_by(keys).aggregate([([], "count_all"), *sums]).to_pylist()
    )
    return rows


def _word(value: Any) -> str:
    return {True: "desirable", False: "undesirable"}.get(value, str(value))

"""The `where` condition: a SQL expression over the source's columns that judges each row alone.

Parsed by `polars.sql_expr`, which would also take subqueries; `check_words` lets none of them pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from arbitrage.errors import ConfigError, unknown_name
from arbitrage.infra.sources.columns import Problems, is_text, text_column
from arbitrage.infra.sources.records import Problem, RawRows, SourceFile, shown
from arbitrage.infra.sources.words import check_words

if TYPE_CHECKING:
    import polars as pl


class Condition:
    """A parsed condition.

    Args:
        expression: as in [prompts] where.

    Attributes:
        columns: the columns it reads.
    """

    def __init__(self, expression: str) -> None:
        import polars as pl  # noqa: PLC0415 - only where a condition is given

        check_words(expression)
        self.text = expression
        try:
            self._parsed = pl.sql_expr(expression)
        except pl.exceptions.PolarsError as error:
            raise self._wrong(str(error)) from error
        self.columns = sorted(set(self._parsed.meta.root_names()))
        # Of an untyped source: column -> kind of its first value, so that chunks agree.
        self._kinds: dict[str, str] = {}

    def check(self, types: Mapping[str, pa.DataType | None], file: SourceFile) -> None:
        """ConfigError where a column is not there or the expression is not true or false."""
        import polars as pl  # noqa: PLC0415

        for name in self.columns:
            if name not in types:
                raise unknown_name(
                    f"column of {file.path}",
                    name,
                    types,
                    mend="Fix prompts.where; text goes in 'single quotes'.",
                )
        if any(types[name] is None for name in self.columns):
            return
        frame = {name: _empty(types[name]) for name in self.columns}
        result = self._evaluate(pl.DataFrame(frame) if frame else pl.DataFrame({"": []}))
        if result.dtype not in (pl.Boolean, pl.Null):
            raise self._wrong(f"it gives {result.dtype}, not true or false")

    def keep(self, rows: RawRows) -> RawRows:
        """The rows for which it is true; null counts as false.

        A row whose value cannot be read, or is of another kind than the column's first value, is
        kept with its problem: it was not judged.
        """
        import polars as pl  # noqa: PLC0415

        problems: Problems = dict(rows.broken)
        frame = {name: self._series(name, rows, problems) for name in self.columns}
        if frame:
            result = self._evaluate(pl.DataFrame(frame))
        else:
            result = self._evaluate(pl.DataFrame({"": [None]}))
        if result.dtype not in (pl.Boolean, pl.Null):
            raise self._wrong(f"it gives {result.dtype}, not true or false")
        mask = result.cast(pl.Boolean).fill_null(False).to_numpy()
        mask = np.array(np.broadcast_to(mask, len(rows)))
        mask[list(problems)] = True
        kept = RawRows(rows.columns, rows.positions, problems)
        return kept.take(np.flatnonzero(mask))

    def _evaluate(self, frame: pl.DataFrame) -> pl.Series:
        import polars as pl  # noqa: PLC0415

        nulls = [name for name in frame.columns if frame.schema[name] == pl.Null]
        kinds = (pl.Null, pl.String, pl.Float64) if nulls else (pl.Null,)
        for last, kind in enumerate(kinds, start=1 - len(kinds)):
            # A column of nulls only has no type yet: any type that the expression takes will do.
            typed = frame.with_columns(pl.col(name).cast(kind) for name in nulls)
            try:
                return typed.select(self._parsed).to_series()
            except pl.exceptions.PolarsError as error:
                if last == 0:
                    raise self._wrong(str(error), frame.schema) from error
        raise AssertionError("unreachable")

    def _wrong(self, fault: str, schema: Mapping[str, Any] | None = None) -> ConfigError:
        first_line = fault.partition("\n")[0]
        types = "".join(f' "{n}" is {t}.' for n, t in (schema or {}).items() if n)
        return ConfigError(
            f"prompts.where = {self.text} cannot be used: {shown(first_line)}.{types}",
            mend="Fix prompts.where; TRY_CAST(column AS DOUBLE) makes numbers of text.",
        )

    def _series(self, name: str, rows: RawRows, problems: Problems) -> Any:
        import polars as pl  # noqa: PLC0415

        values = rows.columns.get(name)
        if values is None:
            return pl.Series([None] * len(rows), dtype=pl.Null)
        if isinstance(values, list):
            return self._untyped(name, values, problems)
        if is_text(values.type) and not pa.types.is_null(values.type):
            return pl.from_arrow(text_column(values, name, problems))
        return pl.from_arrow(values)

    def _untyped(self, name: str, values: Sequence[Any], problems: Problems) -> Any:
        import polars as pl  # noqa: PLC0415

        kinds = [_kind(value) for value in values]
        if name not in self._kinds:
            first = next((kind for kind in kinds if kind), None)
            if first is None:
                return pl.Series([None] * len(values), dtype=pl.Null)
            self._kinds[name] = first
        kind = self._kinds[name]
        clean: list[Any] = []
        for index, (value, own) in enumerate(zip(values, kinds, strict=True)):
            clean.append(value if own == kind else None)
            if own and own != kind:
                detail = f'where reads "{name}" as {kind}, and this row holds {shown(value, 60)}'
                problems.setdefault(index, Problem("wrong_type", detail))
        if kind == "text":
            return pl.from_arrow(text_column(clean, name, problems))
        if kind == "nested":
            raise self._wrong(f'column "{name}" holds lists or objects')
        if kind == "number":
            whole = all(isinstance(value, int) for value in clean if value is not None)
            fits = whole and all(abs(value) < 2**63 for value in clean if value is not None)
            return pl.Series(clean, dtype=pl.Int64 if fits else pl.Float64, strict=False)
        return pl.Series(clean, dtype=pl.Boolean)


def _empty(kind: pa.DataType | None) -> Any:
    import polars as pl  # noqa: PLC0415

    plain = pa.string() if kind is None or (is_text(kind) and not pa.types.is_null(kind)) else kind
    return pl.from_arrow(pa.array([], plain))


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "nested"

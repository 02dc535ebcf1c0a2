"""JSON lines, plain or compressed: one object a line; a broken line spoils that row only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from arbitrage.errors import SourceError
from arbitrage.infra.sources.records import (
    CHUNK_BYTES,
    LONGEST_LINE,
    Header,
    Problem,
    RawRows,
    SourceFile,
    shown,
)
from arbitrage.infra.sources.streams import read_lines

_SAMPLE_ROWS = 1000
_SAMPLE_BYTES = 4 << 20


def read_header(file: SourceFile) -> Header:
    """Columns of the first 1000 rows or 4 MiB, each with the type of its first non-null value."""
    types: dict[str, pa.DataType | None] = {}
    size = 0
    fault = ""
    for number, line in enumerate(islice(read_lines(file), _SAMPLE_ROWS), start=1):
        size += len(line) if isinstance(line, bytes) else line
        if number == 1 and line == b"[":
            # A JSON array over several lines; its last element may look like a good line.
            fault = "line 1 opens a JSON array"
            types = {}
            break
        row = parse_line(line)
        if isinstance(row, dict):
            for name, value in row.items():
                if types.get(name) is None:
                    types[name] = _type_of(value)
        elif isinstance(row, Problem) and not fault:
            fault = f"line {number}: {row.detail}"
        if size > _SAMPLE_BYTES:
            break
    if fault and not types:
        raise SourceError(
            f"{file.path} begins with no JSON object on a line of its own; {fault}.",
            mend="Write one object a line: jq -c '.[]' OLD > NEW makes lines of a JSON array.",
        )
    return Header(types, declared=False)


def read_rows(
    file: SourceFile,
    header: Header,
    wanted: list[str],
    chunk_rows: int,
) -> Iterator[RawRows]:
    """Rows in file order; blank lines are no rows. A key that a row lacks reads as null."""
    rows: list[dict[str, Any]] = []
    positions: list[int] = []
    broken: dict[int, Problem] = {}
    size = 0

    def finish() -> RawRows:
        there = set(chain.from_iterable(rows)).union(header.types)
        columns = {name: [row.get(name) for row in rows] for name in wanted if name in there}
        return RawRows(columns, np.array(positions, dtype=np.int64), broken)

    for number, line in enumerate(read_lines(file), start=1):
        row = parse_line(line)
        if row is None:
            continue
        if isinstance(row, Problem):
            broken[len(rows)] = row
            row = {}
        rows.append(row)
        positions.append(number)
        size += len(line) if isinstance(line, bytes) else 0
        if len(rows) >= chunk_rows or size >= CHUNK_BYTES:
            yield finish()
            rows, positions, broken, size = [], [], {}, 0
    if rows:
        yield finish()


def parse_line(line: bytes | int) -> dict[str, Any] | Problem | None:
    """The row of a line, its problem, or None for a blank line. An int is an overlong line's size.

    >>> parse_line(b'{"a": 1}'), parse_line(b'[1]').cause, parse_line(b'{"a": NaN}').cause
    ({'a': 1}, 'invalid_json', 'invalid_json')
    """
    if isinstance(line, int):
        return Problem("too_long", f"the line has {line:,} bytes, over {LONGEST_LINE:,}")
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if not line.strip():
            return None
        row = _second_opinion(line, str(error))
    if isinstance(row, dict | Problem):
        return row
    return Problem("invalid_json", f"the line holds a {type(row).__name__}, not an object")


def _second_opinion(line: bytes, fault: str) -> Any:
    """Of a line orjson refuses: lone surrogates parse here, and are judged where they stand."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        return Problem("invalid_utf8", f"byte {error.start + 1} of the line: {error.reason}")
    except (ValueError, RecursionError):
        return Problem("invalid_json", shown(fault))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _type_of(value: object) -> pa.DataType | None:
    kinds = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return kinds.get(type(value))

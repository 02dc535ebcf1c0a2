"""csv and tsv with a header line: every value is text, so "no" stays Norwegian and "007" an id."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
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


class _Lines:
    """Decoded lines for csv.reader, which remember the last line that was not UTF-8."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.source = read_lines(file)
        self.number = 0
        self.not_utf8 = 0
        self.bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.source)
        self.number += 1
        if isinstance(line, int):
            raise SourceError(
                f"{self.file.path}: line {self.number} has {line:,} bytes, over {LONGEST_LINE:,}.",
                mend="Split the file into lines, or write it as parquet.",
            )
        self.bytes += len(line)
        try:
            return line.decode("utf-8") + "\n"
        except UnicodeDecodeError:
            self.not_utf8 = self.number
            return line.decode("utf-8", "replace") + "\n"


def read_header(file: SourceFile) -> Header:
    """Columns of the header line, all of them text."""
    lines = _Lines(file)
    names = _names(file, _records(file, lines))
    repeated = frozenset(name for name in names if names.count(name) > 1)
    return Header({name: pa.string() for name in names}, repeated)


def read_rows(
    file: SourceFile,
    header: Header,  # noqa: ARG001
    wanted: list[str],
    chunk_rows: int,
) -> Iterator[RawRows]:
    """Rows in file order; blank lines are no rows.

    A position is the line on which the row starts. SourceError for a quote that is never closed:
    it would swallow the rest of the file as one row.
    """
    lines = _Lines(file)
    records = _records(file, lines)
    names = _names(file, records)
    places = {name: names.index(name) for name in wanted}
    nothing = [None] * len(names)
    rows: list[list[str] | list[None]] = []
    positions: list[int] = []
    broken: dict[int, Problem] = {}

    def finish() -> RawRows:
        columns = {name: [row[place] for row in rows] for name, place in places.items()}
        return RawRows(columns, np.array(positions, dtype=np.int64), broken)

    for record, start in records:
        if isinstance(record, list) and len(record) != len(names):
            detail = f"{len(record)} fields where the header has {len(names)}"
            record = Problem("malformed_row", detail)  # noqa: PLW2901
        if isinstance(record, Problem):
            broken[len(rows)] = record
            rows.append(nothing)
        else:
            rows.append(record)
        positions.append(start)
        if len(rows) >= chunk_rows or lines.bytes >= CHUNK_BYTES:
            yield finish()
            rows, positions, broken, lines.bytes = [], [], {}, 0
    if rows:
        yield finish()


def _names(file: SourceFile, records: Iterator[tuple[list[str] | Problem, int]]) -> list[str]:
    header, line = next(records, ([], 1))
    if isinstance(header, Problem):
        raise SourceError(
            f"{file.path}: the header in line {line} cannot be read: {header.detail}.",
            mend="Write the header as UTF-8, comma-separated names.",
        )
    return header


def _records(file: SourceFile, lines: _Lines) -> Iterator[tuple[list[str] | Problem, int]]:
    """(fields or problem, first line) of each record."""
    # The limit is global to the process and 128 kB by default: less than a long prompt.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    reader = csv.reader(lines, delimiter="\t" if file.kind == "tsv" else ",", strict=True)
    while True:
        start = lines.number + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = str(error)
            if "unexpected end of data" in fault or "field larger" in fault:
                raise SourceError(
                    f"{file.path}: the quote opened in the row of line {start} is never closed.",
                    mend=f"Close or double the quote in line {start}.",
                ) from error
            yield Problem("malformed_row", shown(fault)), start
            continue
        if lines.not_utf8 >= start:
            yield Problem("invalid_utf8", f"line {lines.not_utf8} is not UTF-8"), start
        elif record:
            yield record, start

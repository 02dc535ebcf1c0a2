"""What passes between readers and conversion: files, headers, raw rows and their problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.errors import SourceError

# A columnar reader hands over Arrow arrays; a reader of lines hands over Python values.
Column: TypeAlias = pa.Array | list[Any]

# A chunk holds at most this many bytes of input, so that long prompts do not fill the memory.
CHUNK_BYTES = 64 * 2**20

# Longer than any prompt: a line of this size is not JSON lines, or is one broken row.
LONGEST_LINE = 64 * 2**20

_DETAIL = 200


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: as a person would write it, for messages.
        label: how origins name it: its base name, or the path where two files share a base name.
        name: the default of a prompt's `source`.
        kind: "parquet", "jsonl", "csv", "tsv", "arrow" or "hub".
        compression: "gzip", "zstd" or None.
        size: bytes, 0 where not known.
        filesystem: the fsspec filesystem that holds it (None for the hub).
        key: its path within that filesystem.
    """

    path: str
    label: str
    name: str
    kind: str
    compression: str | None
    size: int
    filesystem: Any
    key: str

    def open(self) -> BinaryIO:
        """The bytes as they lie there, compressed or not; the caller closes it."""
        stream: BinaryIO = self.filesystem.open(self.key, "rb")
        return stream


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its rows are read.

    Attributes:
        types: column -> Arrow type; None where it is not known (JSON lines declare none).
        repeated: names that more than one column has.
        rows: number of rows, None where only reading the file would tell.
        declared: False where `types` is a sample's guess and more columns may come.
    """

    types: Mapping[str, pa.DataType | None]
    repeated: frozenset[str] = frozenset()
    rows: int | None = None
    declared: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row is no prompt: `prompts.CAUSE` and a sentence of at most 200 characters."""

    cause: str
    detail: str

    @property
    def reason(self) -> str:
        return f"prompts.{self.cause}"


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one file as they lie there.

    Attributes:
        columns: the wanted columns that are there, each of n values.
        positions: 1-based line (JSON lines, csv) or row in the file, shape [n].
        broken: index 0..n-1 -> problem of a row that could not be parsed; its values are None.
    """

    columns: Mapping[str, Column]
    positions: NDArray[np.int64]
    broken: Mapping[int, Problem] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, indices: NDArray[np.int64]) -> RawRows:
        """The rows at ascending `indices`."""
        if len(indices) == len(self):
            return self
        arrow = pa.array(indices)
        columns: dict[str, Column] = {
            name: [values[i] for i in indices] if isinstance(values, list) else values.take(arrow)
            for name, values in self.columns.items()
        }
        broken = {new: self.broken[old] for new, old in enumerate(indices) if old in self.broken}
        return RawRows(columns, self.positions[indices], broken)


class Reader(Protocol):
    """What a module that reads one kind of file offers."""

    def read_header(self, file: SourceFile) -> Header:
        """Columns of the file. SourceError where it is damaged."""

    def read_rows(
        self, file: SourceFile, header: Header, wanted: list[str], chunk_rows: int
    ) -> Iterator[RawRows]:
        """Its rows, at most `chunk_rows` at a time, in order. SourceError where it is damaged."""


def rows_of_batch(batch: pa.RecordBatch, wanted: list[str], first: int) -> RawRows:
    """Raw rows of a record batch whose first row has the 1-based position `first`."""
    columns = {}
    for name in wanted:
        values = batch.column(batch.schema.get_field_index(name))
        columns[name] = values.storage if isinstance(values, pa.ExtensionArray) else values
    return RawRows(columns, np.arange(first, first + batch.num_rows, dtype=np.int64))


def header_of_schema(schema: pa.Schema, rows: int | None = None) -> Header:
    """Header of a file that declares an Arrow schema."""
    names = schema.names
    repeated = frozenset(name for name in names if names.count(name) > 1)
    return Header({field.name: _storage(field.type) for field in schema}, repeated, rows)


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def damaged(file: SourceFile, where: str, error: Exception | str) -> SourceError:
    """The error for a file that cannot be read to its end."""
    if isinstance(error, ConnectionError | TimeoutError | PermissionError):
        return SourceError(
            f"{file.path} cannot be read {where}: {shown(str(error) or repr(error))}.",
            mend="Check the network and the permissions, and run again.",
        )
    return SourceError(
        f"{file.path} is damaged or cut short {where}: {shown(str(error) or repr(error))}.",
        mend="Copy or write the file again.",
    )


def shown(value: object, limit: int = _DETAIL) -> str:
    """A value as one printable line of at most `limit` characters.

    >>> shown("a\\nb\\ud800"), shown("x" * 9, limit=4)
    ('a\\\\nb\\\\ud800', 'xxx…')
    """
    text = value if isinstance(value, str) else repr(value)
    text = text[: limit + 1]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"

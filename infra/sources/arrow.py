"""Arrow IPC files and streams, also the data-*.arrow files of datasets' `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa

from arbitrage.infra.sources.records import (
    Header,
    RawRows,
    SourceFile,
    damaged,
    header_of_schema,
    rows_of_batch,
)

_FILE_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def read_header(file: SourceFile) -> Header:
    """Columns; rows for the file format, whose footer is read.

    A stream must end with the end-of-stream mark. The format lets a writer leave it out, but so
    does a copy that was cut between two batches, and no writer in use leaves it out when closed.
    """
    try:
        with file.open() as stream:
            if _is_file_format(stream):
                with pa.ipc.open_file(stream) as reader:
                    return header_of_schema(reader.schema)
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - len(_END_OF_STREAM)))
            if stream.read() != _END_OF_STREAM:
                raise damaged(file, "at its end", "the end-of-stream mark is not there")
            stream.seek(0)
            with pa.ipc.open_stream(stream) as reader:
                return header_of_schema(reader.schema)
    except (OSError, pa.ArrowException) as error:
        raise damaged(file, "in its header or footer", error) from error


def read_rows(
    file: SourceFile,
    header: Header,  # noqa: ARG001
    wanted: list[str],
    chunk_rows: int,
) -> Iterator[RawRows]:
    """Rows in file order. Holds one record batch of the file at a time."""
    done = 0
    try:
        with _batches(file) as batches:
            for batch in batches:
                for start in range(0, batch.num_rows, chunk_rows):
                    yield rows_of_batch(batch.slice(start, chunk_rows), wanted, done + start + 1)
                done += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise damaged(file, f"after row {done}", error) from error


def _is_file_format(stream: BinaryIO) -> bool:
    magic = stream.read(len(_FILE_MAGIC))
    stream.seek(0)
    return magic == _FILE_MAGIC


@contextmanager
def _batches(file: SourceFile) -> Iterator[Iterator[pa.RecordBatch]]:
    with file.open() as stream:
        if _is_file_format(stream):
            with pa.ipc.open_file(stream) as reader:
                yield (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            with pa.ipc.open_stream(stream) as reader:
                yield iter(reader)

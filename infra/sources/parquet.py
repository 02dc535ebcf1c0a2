"""Parquet files: the footer first, then record batches of the wanted columns only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.infra.sources.records import (
    CHUNK_BYTES,
    Header,
    RawRows,
    SourceFile,
    damaged,
    header_of_schema,
    rows_of_batch,
)

_BUFFER = 1 << 20


def read_header(file: SourceFile) -> Header:
    """Columns and rows from the footer, which a file that was cut short does not have."""
    try:
        with _open(file) as parquet:
            return header_of_schema(parquet.schema_arrow, parquet.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise damaged(file, "in its footer", error) from error


def read_rows(
    file: SourceFile, header: Header, wanted: list[str], chunk_rows: int
) -> Iterator[RawRows]:
    """Rows in file order. Dictionary, large and binary columns come as they are."""
    done = 0
    try:
        with _open(file) as parquet:
            size = _batch_rows(parquet.metadata, chunk_rows)
            # Without any wanted column there would be no row count: read the first one.
            columns = wanted or list(header.types)[:1]
            for batch in parquet.iter_batches(batch_size=size, columns=columns):
                if batch.num_rows:
                    yield rows_of_batch(batch, wanted, done + 1)
                    done += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise damaged(file, f"after row {done}", error) from error


@contextmanager
def _open(file: SourceFile) -> Iterator[pq.ParquetFile]:
    # pre_buffer would hold a whole row group; a buffer reads each column chunk as a stream.
    with (
        file.open() as stream,
        pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER) as parquet,
    ):
        yield parquet


def _batch_rows(metadata: pq.FileMetaData, chunk_rows: int) -> int:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    widest = max((g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0)
    return max(1, min(chunk_rows, int(CHUNK_BYTES / max(widest, 1.0))))

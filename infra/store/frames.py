"""Journal segments on disk: checksummed frames, each one commit group, readable after any kill."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import xxhash

from arbitrage.infra.store.files import cannot_write, sync_folder, write_all

logger = logging.getLogger(__name__)

_MAGIC = b"ARBJ"
_HEADER = struct.Struct("<4sIQ")  # magic, payload bytes, xxh3-64 of the payload
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class SegmentWriter:
    """Appends frames to a new segment. A frame is durable when `append` returns."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb", buffering=0)
            sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
        self._path = path

    def append(self, batch: pa.RecordBatch) -> None:
        """Write one record batch as a frame and fsync it."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
            writer.write_batch(batch)
        payload = sink.getvalue().to_pybytes()
        frame = _HEADER.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
        try:
            write_all(self._file, frame)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def close(self) -> None:
        self._file.close()


def read_segment(path: Path) -> Iterator[pa.RecordBatch]:
    """Whole frames of a segment, in order. A torn or damaged tail is said and left out.

    What is left out was never acknowledged (a torn tail), or is asked for again (damage).
    """
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        payload = _payload(data, offset)
        if payload is None:
            logger.warning(
                "journal %s: %d bytes after byte %d are torn; those requests are asked again",
                path.name,
                len(data) - offset,
                offset,
            )
            return
        with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
            yield from reader
        offset += _HEADER.size + len(payload)


def _payload(data: bytes, offset: int) -> bytes | None:
    if len(data) - offset < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    payload = data[start : start + length]
    if magic != _MAGIC or len(payload) < length or xxhash.xxh3_64_intdigest(payload) != checksum:
        return None
    return payload

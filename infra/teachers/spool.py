"""Texts kept on disk and read back by their number: what they take in memory is 9 bytes each."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.errors import OutputError


class Spool:
    """An anonymous temporary file of texts; it is gone with this object, or with its process.

    The system's page cache keeps what is read often. Add everything first: then threads may read.

    >>> spool = Spool()
    >>> spool.add(pa.chunked_array([["merhaba", None, ""]], pa.large_string()))
    >>> spool.seal(), spool.read(0), spool.read(1), spool.read(2)
    (None, 'merhaba', None, '')
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="arbitrage-")  # noqa: SIM115 (closed below)
        weakref.finalize(self, self._file.close)
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
        self._size = 0
        self._starts: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._present: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def add(self, texts: pa.ChunkedArray) -> None:
        """Append texts (large_string, nulls allowed); OutputError where there is no room."""
        with _saying_what_to_mend():
            for chunk in texts.chunks:
                self._add_chunk(chunk)

    def _add_chunk(self, chunk: pa.LargeStringArray) -> None:
        if not len(chunk):
            return
        _, offsets, data = chunk.buffers()
        places = np.frombuffer(offsets, np.int64, len(chunk) + 1, offset=8 * chunk.offset)
        first, last = int(places[0]), int(places[-1])
        if last > first:
            self._file.write(memoryview(data)[first:last])
        self._parts.append((places[:-1] - first + self._size, chunk.is_valid().to_numpy(False)))
        self._size += last - first

    def seal(self) -> None:
        """End of adding; OutputError where there is no room."""
        with _saying_what_to_mend():
            self._file.flush()
        starts = [start for start, _ in self._parts]
        self._starts = np.concatenate([*starts, np.array([self._size], dtype=np.int64)])
        self._present = np.concatenate([self._present, *(mask for _, mask in self._parts)])
        self._parts.clear()

    def read(self, number: int) -> str | None:
        """The text that was added as the `number`-th, counted from 0; None for a null."""
        if not self._present[number]:
            return None
        start, end = self._starts[number : number + 2].tolist()
        return os.pread(self._file.fileno(), end - start, start).decode()


@contextmanager
def _saying_what_to_mend() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f'a temporary file in "{tempfile.gettempdir()}" cannot be written: '
            f"{error.strerror or error}.",
            mend="Make room there, or name another folder in the environment variable TMPDIR.",
        ) from error

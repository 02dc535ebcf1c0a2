"""Recorded completions of one teacher: texts on disk and a sorted index, lean at 10^7 rows."""

from __future__ import annotations

import glob
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.spool import Spool

REQUIRED = ("prompt_id", "teacher", "completion")
OPTIONAL = {"sample_index": pa.int64(), "completion_tokens": pa.int32()}

TEXTS = ("prompt_id", "completion")
_READ_ROWS = 8192
_READ_BYTES = 2**20
_NO_ROWS = pa.schema([("prompt_id", pa.large_string()), *OPTIONAL.items()]).empty_table()

Row = tuple[str | None, int | None]


class Recordings:
    """Recorded rows of one teacher, looked up by (prompt_id, sample index).

    Memory: about 45 bytes a row; the texts lie in a temporary file. Immutable, so threads may
    share one.

    Args:
        tables: prompt_id and completion (large_string), sample_index (int64) and completion_tokens
            (int32), nulls allowed; held one at a time.
    """

    def __init__(self, tables: Iterable[pa.Table], recorded_as: str) -> None:
        self._texts = Spool()
        kept: list[pa.Table] = [_NO_ROWS]
        for table in tables:
            self._texts.add(table.column("completion"))
            kept.append(table.select(_NO_ROWS.column_names))
        self._texts.seal()
        rows = pa.concat_tables(kept).combine_chunks()
        # One chunk: `take` on many costs ten times as much.
        self._tokens = _one_chunk(rows.column("completion_tokens"))
        ids = rows.column("prompt_id")
        keys = _keys(ids, _sample_indices(rows))
        self._order: NDArray[np.int64] = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        twice = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        if len(twice):
            prompt = ids[int(self._order[twice[0]])].as_py()
            raise ConfigError(
                f'prompt "{prompt}" is recorded twice for the teacher "{recorded_as}" with '
                f"the same sample_index ({len(twice)} such rows).",
                mend="Number the rows of a prompt 0, 1, 2 ... in sample_index, or leave it out.",
            )

    def __len__(self) -> int:
        return len(self._keys)

    def some(self, most: int) -> pa.Table:
        """At most `most` rows, evenly spread: completion and completion_tokens (may be null)."""
        count = len(self._tokens)
        rows = np.linspace(0, count - 1, min(most, count)).astype(np.int64)
        texts = pa.array([self._texts.read(int(row)) for row in rows], pa.large_string())
        return pa.table({"completion": texts, "completion_tokens": self._tokens.take(rows)})

    def look_up(self, wanted: Sequence[tuple[str, int]]) -> list[Row | None]:
        """(completion, completion_tokens) of each (prompt_id, sample index); None = no such row."""
        if not len(self._keys) or not wanted:
            return [None] * len(wanted)
        keys = np.array([_key(prompt, index) for prompt, index in wanted], dtype="S16")
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        hits = self._keys[places] == keys
        rows = self._order[places[hits]]
        tokens = self._tokens.take(pa.array(rows)).to_pylist()
        found = iter(zip(map(self._texts.read, rows.tolist()), tokens, strict=True))
        return [next(found) if hit else None for hit in hits.tolist()]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _key(prompt: str, index: int) -> bytes:
    return xxhash.xxh3_128_digest(f"{prompt}\x1f{index}".encode("utf-8", "surrogatepass"))


def _keys(ids: pa.ChunkedArray, indices: NDArray[np.int64]) -> NDArray[np.bytes_]:
    keys = np.empty(len(ids), dtype="S16")
    start = 0
    for chunk in ids.chunks:
        for small in range(0, len(chunk), 65_536):
            part = chunk.slice(small, 65_536).to_pylist()
            numbers = indices[start : start + len(part)].tolist()
            keys[start : start + len(part)] = list(map(_key, part, numbers))
            start += len(part)
    return keys


def _sample_indices(rows: pa.Table) -> NDArray[np.int64]:
    """The given sample_index, or the running number of each row among those of its prompt."""
    given = rows.column("sample_index")
    if given.null_count < len(given):
        filled: NDArray[np.int64] = pc.fill_null(given, 0).to_numpy()
        return filled
    codes = rows.column("prompt_id").combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    prompts = codes.indices.to_numpy()
    order = np.argsort(prompts, kind="stable")
    ranked = prompts[order]
    starts = np.r_[True, ranked[1:] != ranked[:-1]] if len(ranked) else np.empty(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(ranked)), 0))
    numbers = np.empty(len(ranked), dtype=np.int64)
    numbers[order] = np.arange(len(ranked)) - first
    return numbers


_shared: weakref.WeakValueDictionary[tuple[Any, ...], Recordings] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def load_recordings(paths: Sequence[str], recorded_as: str, *, teacher: str) -> Recordings:
    """Rows recorded as `recorded_as` in the files; loaded once while anyone holds them.

    Raises ConfigError where a file is missing or unreadable, lacks a column, or holds no such rows.
    """
    files = [file for path in paths for file in _expand(path, teacher)]
    key = (tuple(files), tuple(_stamp(file) for file in files), recorded_as)
    with _lock:
        found = _shared.get(key)
        if found is None:
            tables = (table for file in files for table in _read(file, recorded_as, teacher))
            found = Recordings(tables, recorded_as)
            if not len(found):
                names = sorted({name for file in files for name in _teachers_in(file)})
                raise ConfigError(
                    f'the recordings of teacher "{teacher}" hold no rows of "{recorded_as}".',
                    known=names[:50],
                    mend=f'Set recorded_as of the teacher "{teacher}" to one of them.',
                )
            _shared[key] = found
        return found


def _expand(path: str, teacher: str) -> list[str]:
    if "://" in path or Path(path).is_file():
        return [path]
    files = sorted(glob.glob(path, recursive=True))
    if not files:
        raise ConfigError(
            f'the recordings "{path}" of teacher "{teacher}" do not exist '
            f'(looked in "{Path.cwd()}").',
            mend="Fix recordings in run.toml; relative means relative to the current directory.",
        )
    return files


def _stamp(file: str) -> tuple[int, int]:
    if "://" in file:
        return (0, 0)
    status = Path(file).stat()
    return (status.st_mtime_ns, status.st_size)


def _open(file: str) -> Any:
    """A local path as it is; a URL through fsspec."""
    if "://" not in file:
        return file
    import fsspec  # noqa: PLC0415 (heavy)

    return fsspec.open(file, "rb").open()


def _read(file: str, recorded_as: str, teacher: str) -> Iterator[pa.Table]:
    """The teacher's rows of one file, some thousand at a time, as `Recordings` wants them."""
    mend = f'Fix recordings of the teacher "{teacher}" in run.toml.'
    try:
        with pq.ParquetFile(_open(file), buffer_size=_READ_BYTES) as parquet:
            names = parquet.schema_arrow.names
            absent = [name for name in REQUIRED if name not in names]
            if absent:
                raise ConfigError(
                    f'the recordings "{file}" have no column "{absent[0]}" (columns: '
                    f"{', '.join(names)}).",
                    mend=f"They need {', '.join(REQUIRED)}. {mend}",
                )
            columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
            for batch in parquet.iter_batches(_READ_ROWS, columns=columns, use_threads=False):
                ours = pc.equal(batch.column("teacher").cast(pa.string()), recorded_as)
                yield _typed(pa.Table.from_batches([batch]).filter(ours))
    except (pa.ArrowException, OSError, ValueError, ImportError) as error:
        raise ConfigError(f'the recordings "{file}" cannot be read: {error}.', mend=mend) from error


def _typed(rows: pa.Table) -> pa.Table:
    columns = {name: rows.column(name).cast(pa.large_string()) for name in TEXTS}
    for name, kind in OPTIONAL.items():
        given = name in rows.column_names
        absent = pa.chunked_array([pa.nulls(rows.num_rows, kind)])
        columns[name] = rows.column(name).cast(kind) if given else absent
    return pa.table(columns)


def _teachers_in(file: str) -> list[str]:
    values = pq.read_table(_open(file), columns=["teacher"]).column("teacher")
    return [str(name) for name in pc.unique(values).to_pylist() if name is not None]

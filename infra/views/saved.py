"""Views on disk, in the layout of `datasets` 5.2 `save_to_disk`, written in bounded memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import FileEntry, HashingSink, cannot_write, sync_folder
from arbitrage.infra.views.features import hf_features, with_features

# What `datasets` itself writes: 1000 rows a record batch, 500 MB a file.
BATCH_ROWS = 1000
TARGET_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class SavedView:
    """A view that is on disk: its rows, and its files with paths relative to the view's folder."""

    rows: int
    files: tuple[FileEntry, ...]

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """As the manifest lists it; `prefix`, for example "views/sft", goes before each path."""
        files = [entry.to_json() for entry in self.files]
        if prefix:
            files = [{**entry, "path": f"{prefix}/{entry['path']}"} for entry in files]
        return {"rows": self.rows, "files": files}


def save_view(
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    path: Path,
    *,
    target_bytes: int = TARGET_BYTES,
) -> SavedView:
    """Write tables as a folder that `datasets.load_from_disk` opens.

    Args:
        tables: of exactly `schema`, one a shard; only one of them is held at a time.
        path: the folder; a finished one of that name is replaced.
        target_bytes: a new file is begun once one has grown past this.

    The bytes depend on the rows alone, not on how they were cut into tables. Without any row there
    is one file without rows, so that the view still loads, which `datasets`' own empty folder does
    not. All is written to a folder beside `path` and fsynced before the rename. Raises OutputError.
    """
    with replaced_folder(path) as folder:
        files = _write_data(tables, with_features(schema), folder, target_bytes)
        names = [entry.path for entry in files]
        marks = [entry.sha256 for entry in files]
        texts = {
            "dataset_info.json": _json(
                {
                    "citation": "",
                    "description": "",
                    "features": hf_features(schema),
                    "homepage": "",
                    "license": "",
                }
            ),
            "state.json": _json(_state(names, _fingerprint(schema, marks))),
        }
        rows = sum(entry.rows for entry in files)
        files += [write_durably(folder / name, [text]) for name, text in texts.items()]
    return SavedView(rows, tuple(files))


def read_view(path: Path) -> Iterator[pa.RecordBatch]:
    """The record batches of a saved view, one at a time; DamagedRunError where it is not whole."""
    for file in _data_files(path):
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
                yield from reader
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error


def view_schema(path: Path) -> pa.Schema:
    """The Arrow schema of a saved view, without metadata."""
    file = _data_files(path)[0]
    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            return reader.schema.remove_metadata()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` that takes its place when the block ends well.

    An OSError inside becomes an OutputError; after any error `path` is as it was. Where `path`
    exists there is an instant between two renames without it, so a reader must go by the manifest.
    """
    mark = f"tmp-{uuid.uuid4().hex[:8]}"  # the mark by which a run's leftovers are found
    fresh, old = (path.with_name(f"{path.name}.{mark}{end}") for end in ("", "-old"))
    try:
        fresh.mkdir(parents=True)
        yield fresh
        sync_folder(fresh)
        _swap(fresh, path, old)
        sync_folder(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _swap(fresh: Path, path: Path, old: Path) -> None:
    if path.exists():
        path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise


def write_durably(path: Path, chunks: Iterable[bytes], rows: int = 0) -> FileEntry:
    """Write and fsync one file; its entry, with the name alone as path."""
    with path.open("wb") as file:
        sink = HashingSink(file)
        for chunk in chunks:
            sink.write(chunk)
        sink.sync()
    return FileEntry(path.name, rows, sink.written, sink.sha256)


def _write_data(
    tables: Iterable[pa.Table], schema: pa.Schema, folder: Path, target_bytes: int
) -> list[FileEntry]:
    batches = _rebatched(tables, schema)
    pending: pa.RecordBatch | None = next(batches, None)
    written: list[FileEntry] = []
    while pending is not None or not written:
        temporary = folder / f"data-{len(written):05d}"
        rows = 0
        with temporary.open("wb") as file:
            sink = HashingSink(file)
            with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as writer:
                while pending is not None and sink.written < target_bytes:
                    writer.write_batch(pending)
                    rows += pending.num_rows
                    pending = next(batches, None)
            sink.sync()
        written.append(FileEntry(temporary.name, rows, sink.written, sink.sha256))
    return [_named(folder, entry, len(written)) for entry in written]


def _named(folder: Path, entry: FileEntry, count: int) -> FileEntry:
    """Give a data file its final name, which holds the number of files."""
    name = f"{entry.path}-of-{count:05d}.arrow"
    (folder / entry.path).rename(folder / name)
    return FileEntry(name, entry.rows, entry.bytes, entry.sha256)


def _rebatched(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of all tables in batches of BATCH_ROWS, whatever the tables' own sizes."""
    rest = schema.empty_table()
    for table in tables:
        rest = pa.concat_tables([rest, pa.Table.from_arrays(table.columns, schema=schema)])
        whole = rest.num_rows - rest.num_rows % BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            yield from rest.slice(start, BATCH_ROWS).combine_chunks().to_batches()
        rest = rest.slice(whole).combine_chunks()
    if rest.num_rows:
        yield from rest.to_batches()


def _state(names: list[str], fingerprint: str) -> Mapping[str, Any]:
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _fingerprint(schema: pa.Schema, marks: list[str]) -> str:
    """16 hexadecimal characters, the same for the same rows: `datasets` keys its caches by it."""
    return hashlib.sha256(json.dumps([hf_features(schema), marks]).encode()).hexdigest()[:16]


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _data_files(path: Path) -> list[Path]:
    state = path / "state.json"
    try:
        names = [item["filename"] for item in json.loads(state.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(state, error) from error
    return [path / name for name in names]


def _damaged(path: Path, error: Exception) -> DamagedRunError:
    return DamagedRunError(
        f'"{path}" is not part of a whole view: {error}.',
        mend="Run `arbitrage verify` on the run, then `arbitrage decide` to write its views again.",
    )

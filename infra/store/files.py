"""Atomic, durable files below one folder: written under a temporary name, fsynced, renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson
import pyarrow as pa

from arbitrage.errors import DamagedRunError, OutputError
from arbitrage.infra.store.watch import watcher_of

ResultT = TypeVar("ResultT")

_TEMPORARY = ".tmp-"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
_BATCH_ROWS = 8192
# Arrow writes some hundred small buffers a batch: gathered before they reach Python.
_BUFFER_BYTES = 2**20
# Of a file being written at most this much waits in memory to be hashed.
_UNHASHED_BYTES = 2**25


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file as the manifest lists it: path below the run folder, rows, bytes, sha256."""

    path: str
    rows: int
    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Folder:
    """Files of one run. Every write is all or nothing, also through `kill -9` and a full disk.

    Raises OutputError where a file cannot be written, with what is on the disk left as it was.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __truediv__(self, name: str) -> Path:
        """Path of a file; DamagedRunError for a name that leads out, as a manifest from elsewhere
        may hold one."""
        if name.startswith("/") or "\0" in name or ".." in name.replace("\\", "/").split("/"):
            raise DamagedRunError(
                f'"{self.root}" names a file outside of it: {name!r}.',
                mend="Trust nothing in this folder, or restore it from a copy.",
            )
        return self.root / name

    def exists(self, name: str) -> bool:
        return (self / name).exists()

    def names(self, folder: str, suffix: str = "") -> list[str]:
        """Sorted paths of the finished files below a folder; what goes meanwhile is absent."""
        found = []
        for place, folders, names in os.walk(self / folder, onerror=_unless_absent):
            folders[:] = [name for name in folders if _TEMPORARY not in name]
            paths = (Path(place, name) for name in names if _TEMPORARY not in name)
            found += [str(path.relative_to(self.root)) for path in paths]
        return sorted(name for name in found if name.endswith(suffix))

    def write_bytes(self, name: str, data: bytes) -> None:
        def write(file: BinaryIO) -> None:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

        self.write(name, write)

    def write_json(self, name: str, value: Any) -> None:
        self.write_bytes(name, orjson.dumps(value, option=orjson.OPT_INDENT_2))

    def read_json(self, name: str) -> Any:
        return orjson.loads((self / name).read_bytes())

    def write_table(self, name: str, table: pa.Table) -> FileEntry:
        """Write an Arrow IPC file (zstd) and return its entry for the manifest."""

        def write(file: BinaryIO) -> FileEntry:
            sink = HashingSink(file)
            with (
                pa.BufferedOutputStream(pa.PythonFile(sink, mode="w"), _BUFFER_BYTES) as buffered,
                pa.ipc.new_file(buffered, table.schema, options=_OPTIONS) as writer,
            ):
                writer.write_table(table.combine_chunks(), max_chunksize=_BATCH_ROWS)
            sink.sync()
            return FileEntry(name, table.num_rows, sink.written, sink.sha256)

        return self.write(name, write)

    def read_table(self, name: str) -> pa.Table:
        """Read an Arrow IPC file; DamagedRunError where it is not whole."""
        path = self / name
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                table: pa.Table = reader.read_all()
                table.validate(full=True)
                return table
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedRunError(
                f'"{path}" cannot be read: {error}.', mend="Restore it or run again with --new."
            ) from error

    def entry(self, name: str, rows: int) -> FileEntry:
        """Size and sha256 of a file as it lies on the disk."""
        path = self / name
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return FileEntry(name, rows, path.stat().st_size, digest.hexdigest())

    def remove(self, *names: str) -> None:
        """Remove files or whole folders; absent ones are fine."""
        for name in names:
            path = self / name
            if path.is_dir():
                while path.is_dir():  # somebody else may be removing it as well
                    with suppress(FileNotFoundError):
                        shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if (watcher := watcher_of(self.root)) is not None:
                watcher.removed(name)

    def remove_temporaries(self) -> None:
        """Drop what a killed writer left under temporary names."""
        for place, folders, names in os.walk(self.root, onerror=_unless_absent):
            for name in [*folders, *names]:
                if _TEMPORARY in name:
                    self.remove(str(Path(place, name).relative_to(self.root)))

    def make(self) -> None:
        """Create the folder and prove that it can be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f"probe{_TEMPORARY}{uuid.uuid4().hex[:8]}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OutputError(
                f'the output folder "{self.root}" cannot be written: {error.strerror or error}.',
                mend="Choose another with --set run.output=PATH or mend its permissions.",
            ) from error

    def write(self, name: str, fill: Callable[[BinaryIO], ResultT]) -> ResultT:
        """Give a file its name once `fill` has made it durable; returns what `fill` returns."""
        path = self / name
        temporary = path.with_name(f"{path.name}{_TEMPORARY}{uuid.uuid4().hex[:8]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                result = fill(file)
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            with suppress(OSError):  # it was never there, and why says more
                temporary.unlink()
        self.tell(name)
        return result

    def tell(self, name: str) -> None:
        """Tell whoever mirrors this folder of a file that was given its name by other means."""
        if (watcher := watcher_of(self.root)) is not None:
            watcher.written(name)


class HashingSink:
    """A file being written that knows the size and sha256 of what went into it.

    It saves reading a file back to hash it. What was written last is hashed while `sync` waits for
    the disk. `close` leaves the file open, for its owner.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._unhashed: list[Any] = []
        self._unhashed_bytes = 0
        self.written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._file.write(data)
        size = memoryview(data).nbytes
        self.written += size
        self._unhashed.append(data)
        self._unhashed_bytes += size
        if self._unhashed_bytes > _UNHASHED_BYTES:
            self._catch_up()
        return size

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        """Make the file durable."""
        hashing = threading.Thread(target=self._catch_up)
        hashing.start()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            hashing.join()

    def close(self) -> None:
        self.closed = True

    @property
    def sha256(self) -> str:
        self._catch_up()
        return self._hash.hexdigest()

    def _catch_up(self) -> None:
        for data in self._unhashed:
            self._hash.update(data)
        self._unhashed.clear()
        self._unhashed_bytes = 0


def write_all(file: FileIO, data: bytes) -> None:
    """Hand all of it to the system: of what does not fit a raw file takes a part, without error."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; a copy of it where the file system knows no links."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The OutputError for a failed write: a full disk reads differently from a denied one."""
    return OutputError(
        f'"{path}" cannot be written: {error.strerror or error}.',
        mend="Nothing finished is lost: make room or mend permissions, then run the same command.",
    )


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unless_absent(error: OSError) -> None:
    """A folder that is not there, or no more, holds nothing; any other failure is raised."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error

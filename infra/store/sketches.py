"""What filters over a whole run keep of each candidate: written in parts, read as one array."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import Folder, cannot_write

_KEYS = "keys.arrow"
_WHOLE = "whole"


class SketchStore:
    """Sketches below one place of a folder, a part (a shard, or one of an earlier run) at a time.

    A part is there once its keys are. Arrays are plain .npy files; nothing is ever unpickled.
    """

    def __init__(self, folder: Folder, place: str) -> None:
        self._folder = folder
        self._place = place

    def has(self, part: str) -> bool:
        return self._folder.exists(self._path(part, _KEYS))

    def write(
        self, part: str, keys: pa.Table, sketches: Mapping[str, Mapping[str, NDArray[Any]]]
    ) -> None:
        """Keep a part: keys to say which candidate each row is, and filter -> name -> array."""
        for name, arrays in sketches.items():
            for key, array in arrays.items():
                data = io.BytesIO()
                np.save(data, np.ascontiguousarray(array), allow_pickle=False)
                self._folder.write_bytes(self._path(part, _file(name, key)), data.getvalue())
        self._folder.write_table(self._path(part, _KEYS), keys)

    def keys(self, part: str) -> pa.Table:
        return self._folder.read_table(self._path(part, _KEYS))

    def sketched(self, part: str) -> set[str]:
        """Filters that a part holds sketches of."""
        names = self._folder.names(f"{self._place}/{part}", ".npy")
        return {name.rpartition("/")[2].partition(".")[0] for name in names}

    @contextmanager
    def whole(self, name: str, parts: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """The sketches of one filter over some parts, in order, as memory-mapped arrays.

        They are copied into one file an array, since a mapping a part would run out of file
        descriptors; those are removed at the end.
        """
        place = f"{self._place}/{_WHOLE}"
        names = self._folder.names(f"{self._place}/{parts[0]}", ".npy") if parts else []
        files = [file.rpartition("/")[2] for file in names]
        try:
            yield {
                file.split(".")[1]: self._joined(file, parts)
                for file in files
                if file.startswith(f"{name}.")
            }
        finally:
            self._folder.remove(place)

    def _joined(self, file: str, parts: Iterable[str]) -> NDArray[Any]:
        """One array of all parts. An empty one is not mapped: there is nothing to map."""
        path = self._folder / f"{self._place}/{_WHOLE}/{file}"
        sizes = [self._shape(part, file) for part in parts]
        rows, (_, trailing, kind) = sum(size[0] for size in sizes), sizes[0]
        if not rows or 0 in trailing:
            return np.zeros((rows, *trailing), kind)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as joined:
                for part in parts:
                    joined.write(self._load(part, file).data)
        except OSError as error:
            raise cannot_write(path, error) from error
        return np.asarray(np.memmap(path, kind, mode="r", shape=(rows, *trailing)))

    def _shape(self, part: str, file: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
        """Rows, trailing shape and type, as the file's header says."""
        try:
            with (self._folder / self._path(part, file)).open("rb") as opened:
                np.lib.format.read_magic(opened)
                shape, _, kind = np.lib.format.read_array_header_1_0(opened)
        except (OSError, ValueError) as error:
            raise self._damaged(part, file, error) from error
        return shape[0], shape[1:], kind

    def _load(self, part: str, file: str) -> NDArray[Any]:
        try:
            array = np.load(self._folder / self._path(part, file), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(part, file, error) from error
        return np.asarray(array)

    def _damaged(self, part: str, file: str, error: Exception) -> DamagedRunError:
        return DamagedRunError(
            f'"{self._folder / self._path(part, file)}" cannot be read: {error}.',
            mend="Run again with --new.",
        )

    def _path(self, part: str, file: str) -> str:
        return f"{self._place}/{part}/{file}"


def _file(name: str, key: str) -> str:
    return f"{name}.{key}.npy"

"""Arrays of an .npz that somebody else may have written: nothing executed, no size believed."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 4 << 30
_MOST_ARRAYS = 1_000
# What a damaged archive raises: cut short, packed in an unknown way, locked, not what was packed.
_FAILURES = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error)


def read_arrays(data: bytes, most_bytes: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """Name -> array; ValueError for what is no .npz of plain arrays of at most `most_bytes` in all.

    Each array's shape is compared with the bytes that are there before memory is taken for it, so
    that a header of 1e15 numbers or a member that unpacks to terabytes is refused at once.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_ARRAYS or len({m.filename for m in members}) < len(members):
                raise ValueError(f"{len(members)} members, some of the same name or too many")
            total = sum(member.file_size for member in members)
            if total > most_bytes:
                raise ValueError(f"its arrays are {total:,} bytes, more than {most_bytes:,}")
            return {
                member.filename.removesuffix(".npy"): _array(archive, member) for member in members
            }
    except _FAILURES as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f'"{member.filename}" has the unknown version {version}')
        if dtype.hasobject:
            raise ValueError(f'"{member.filename}" holds Python objects')
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f'"{member.filename}" says {shape} of {dtype} and holds other bytes')
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

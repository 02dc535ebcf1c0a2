"""Bytes of a file, decompressed, and cut into lines of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import pyarrow as pa

from arbitrage.errors import SourceError
from arbitrage.infra.sources.records import LONGEST_LINE, SourceFile, damaged

BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@contextmanager
def open_bytes(file: SourceFile) -> Iterator[Readable]:
    """The file's decompressed bytes.

    Arrow decompresses, because it reports a stream that was cut short; Python's zstandard does not.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(file.open())
        if file.compression is None:
            yield stream
            return
        source = stack.enter_context(pa.PythonFile(stream, mode="r"))
        yield stack.enter_context(pa.CompressedInputStream(source, file.compression))


def read_lines(file: SourceFile, longest: int = LONGEST_LINE) -> Iterator[bytes | int]:
    """Lines without their line feed; for a line over `longest` bytes, its length instead.

    A byte-order mark at the start is dropped. Holds one block and one line at a time.
    """
    number = 0
    try:
        with open_bytes(file) as stream:
            for line in _split(stream, longest):
                if number == 0 and isinstance(line, bytes):
                    line = _without_mark(file, line)  # noqa: PLW2901
                number += 1
                yield line
    except (OSError, EOFError, pa.ArrowException) as error:
        raise damaged(file, f"after line {number}", error) from error


def _without_mark(file: SourceFile, line: bytes) -> bytes:
    if line.startswith(_UTF16):
        raise SourceError(
            f"{file.path} is UTF-16, not UTF-8.",
            mend="Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW.",
        )
    return line.removeprefix(_BOM)


def _split(stream: Readable, longest: int) -> Iterator[bytes | int]:
    pieces: list[bytes] = []
    length = 0
    while block := stream.read(BLOCK):
        *whole, rest = block.split(b"\n")
        for index, line in enumerate(whole):
            if index == 0 and length:
                size = length + len(line)
                yield size if size > longest else b"".join([*pieces, line])
                pieces, length = [], 0
            else:
                yield line if len(line) <= longest else len(line)
        length += len(rest)
        if length <= longest:
            pieces.append(rest)
        else:
            # Only the length of an overlong line is kept: its text would fill the memory.
            pieces = []
    if length:
        yield length if length > longest else b"".join(pieces)

"""Vectors kept in a folder, so that a text is embedded once a run and not again in the next."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from arbitrage.embeddings.base import Embedder, Vectors
from arbitrage.errors import EmbeddingError

log = logging.getLogger(__name__)

_KEY = 16
_SUFFIX = ".arrow"


def text_key(text: str) -> bytes:
    """xxh3-128 of a text, 16 bytes."""
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


class CachedEmbedder(Embedder):
    """Another embedder, with a folder of what it embedded before.

    One folder may serve several embedders, processes and threads. Files are written whole under a
    temporary name, are called by the hash of their bytes, and never change; two writers at worst
    keep the same vector twice. A file whose bytes do not fit its name is said (logged as a
    warning), left alone and not used: its texts are embedded anew.

    In memory: about 150 bytes for each known text, and vectors not yet written (at most `part` and
    one call's, or all where the folder turns out not to take files, which is logged). Vectors of
    files are memory-mapped, so the system may drop them.

    Args:
        embedder: whose vectors to keep; it stays open when this one is closed.
        folder: a local folder; made if absent.
        part: vectors in one file. What is not yet in a file is written by `flush` or `close`, and
            lost (embedded anew) if the process dies before.
    """

    def __init__(self, embedder: Embedder, folder: str | Path, *, part: int = 4096) -> None:
        self._embedder = embedder
        self._parent = Path(folder)
        self._part = part
        self._open: Path | None = None
        self._read: set[str] = set()
        self._parts: list[Vectors] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._new: dict[bytes, Vectors] = {}
        self._changing = threading.RLock()

    @property
    def identity(self) -> str:
        return self._embedder.identity

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    def vectors(self, texts: Sequence[str]) -> Vectors:
        return self._embedder.vectors(texts)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """As the embedder's `embed`; only texts that no file holds are handed to it."""
        keys = [text_key(text) for text in texts]
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        with self._changing:
            if any(key not in self._places and key not in self._new for key in keys):
                self._look()
            missing = [row for row, key in enumerate(keys) if not self._fill(out, row, key)]
        if missing:
            first = {keys[row]: row for row in reversed(missing)}
            found = self._embedder.embed([texts[row] for row in first.values()])
            vectors = dict(zip(first, found, strict=True))
            for row in missing:
                out[row] = vectors[keys[row]]
            with self._changing:
                self._new.update(vectors)
                if len(self._new) >= self._part:
                    self.flush()
        return out

    def _fill(self, out: Vectors, row: int, key: bytes) -> bool:
        place = self._places.get(key)
        vector = self._new.get(key) if place is None else self._parts[place[0]][place[1]]
        if vector is None:
            return False
        out[row] = vector
        return True

    def _folder(self) -> Path:
        """This embedder's own folder, by the hash of its identity, which is in a file beside."""
        if self._open is None:
            name = xxhash.xxh3_128_hexdigest(self.identity.encode())
            folder = self._parent / name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _write(folder / "identity.txt", f"{self.identity}\n".encode())
            except OSError as error:
                raise EmbeddingError(
                    f'the embedding cache "{folder}" cannot be made: {error}.',
                    mend="Name a folder that can be written.",
                ) from error
            self._open = folder
        return self._open

    def _look(self) -> None:
        """Take in files that this or another process wrote since."""
        for name in sorted(os.listdir(self._folder())):
            if name.endswith(_SUFFIX) and name not in self._read:
                self._read.add(name)
                self._take_in(self._folder() / name)

    def _take_in(self, path: Path) -> None:
        try:
            source = pa.memory_map(str(path))
            data = source.read_buffer()
        except OSError as error:
            log.warning("embedding cache: %s cannot be read, %s; not used", path, error)
            return
        if xxhash.xxh3_128_hexdigest(data) != path.name.removesuffix(_SUFFIX):
            log.warning("embedding cache: %s is damaged; its texts are embedded anew", path)
            return
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all().combine_chunks()
        keys = table.column("key").to_pylist()
        flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=True)
        self._know(keys, flat.reshape(len(keys), -1))

    def _know(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        number = len(self._parts)
        self._parts.append(vectors)
        for row, key in enumerate(keys):
            self._places.setdefault(key, (number, row))

    def flush(self) -> None:
        """Write what is not yet in a file."""
        with self._changing:
            if not self._new:
                return
            new, self._new = self._new, {}
            stacked = np.stack(list(new.values()))
            table = pa.table(
                {
                    "key": pa.array(list(new), pa.binary(_KEY)),
                    "vector": pa.FixedSizeListArray.from_arrays(
                        pa.array(stacked.reshape(-1)), self.dimensions
                    ),
                }
            )
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            content = sink.getvalue().to_pybytes()
            path = self._folder() / f"{xxhash.xxh3_128_hexdigest(content)}{_SUFFIX}"
            self._read.add(path.name)
            try:
                _write(path, content)
            except OSError as error:
                # The vectors are right; only the next run will have to make them again.
                log.warning("embedding cache: %s cannot be written, %s", path, error)
                self._know(list(new), stacked)
            else:
                self._take_in(path)  # mapped from the file, no longer in memory

    def close(self) -> None:
        """Write what is left. The embedder itself stays open."""
        self.flush()


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that is there already has these very bytes."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()

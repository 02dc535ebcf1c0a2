"""A committed run brought from an object store into its local folder, every byte checked."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import FileEntry, Folder, cannot_write
from arbitrage.infra.store.s3.bucket import Bucket
from arbitrage.infra.store.s3.log import CommitLog
from arbitrage.infra.store.s3.outbox import POSITION, Outbox
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.state import Piece, State

T = TypeVar("T")

_AT_ONCE = 8
_BLOCK = 8 * 2**20


def is_ahead(root: Path, log: CommitLog) -> bool:
    """Whether the local folder wrote the last commit, so that it holds that and maybe more."""
    position = Outbox(root).folder / POSITION
    try:
        known = orjson.loads(position.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False
    return bool(known == {"number": log.number, "writer": log.writer})


def bring_state(bucket: Bucket, state: State, root: Path) -> None:
    """Make the local folder what is committed. DamagedRunError where bytes are not those."""
    shutil.rmtree(root, ignore_errors=True)
    folder = Folder(root)
    folder.make()

    def bring(item: tuple[str, tuple[Piece, ...]]) -> None:
        name, pieces = item

        def fill(file: BinaryIO) -> None:
            for piece in pieces:
                _copy_piece(bucket, piece, file)

        folder.write(name, fill)

    _all(bring, state.files.items())


def bring_files(bucket: Bucket, place: S3Place, folder: Folder, entries: list[FileEntry]) -> None:
    """Download finished files that are not in the folder yet, checked against their entries."""

    def bring(entry: FileEntry) -> None:
        path = folder / entry.path
        if not path.is_file() or path.stat().st_size != entry.bytes:
            bring_one(bucket, place, folder, entry.path, entry.sha256)

    _all(bring, entries)


def bring_one(
    bucket: Bucket, place: S3Place, folder: Folder, name: str, sha256: str | None = None
) -> bool:
    """Download one file as it lies in the store; whether there is one.

    With `sha256`, DamagedRunError where it is another file or none, and nothing has its name then.
    """
    path = folder / name
    # Other processes may bring the same file at the same time.
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = bucket.download(place.key(name), temporary)
        if sha256 is not None and found != sha256:
            raise damaged(place, name)
        if found is not None:
            temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return found is not None


def damaged(place: S3Place, name: str) -> DamagedRunError:
    return DamagedRunError(
        f'"{place}/{name}" is not the object the run wrote.',
        mend=f"See what else is wrong with `arbitrage verify {place}`.",
    )


def _copy_piece(bucket: Bucket, piece: Piece, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    for start in range(0, piece.bytes, _BLOCK):
        size = min(_BLOCK, piece.bytes - start)
        found = bucket.get(piece.key, piece.start + start, size)
        data = found.data if found else b""
        if len(data) != size:
            raise _lost(piece)
        digest.update(data)
        file.write(data)
    if digest.hexdigest() != piece.sha256:
        raise _lost(piece)


def _lost(piece: Piece) -> DamagedRunError:
    return DamagedRunError(
        f'the object "{piece.key}" is gone or damaged, which an unfinished run needs.',
        mend="Restore it, or start another run with --new.",
    )


def _all(work: Callable[[T], None], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bring") as pool:
        list(pool.map(work, items))

"""What a command reads or writes under s3://, as a local file or folder while the command runs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arbitrage.errors import ArbitrageError, ConfigError, OutputError
from arbitrage.infra.store.s3.bucket import Bucket, S3Bucket
from arbitrage.infra.store.s3.place import S3Place, is_folder_mark, is_s3, parse_s3


@contextmanager
def brought(address: str | Path) -> Iterator[Path]:
    """A local path with what lies at `address`: itself, or a copy that goes when this ends.

    An s3:// address names an object, or all objects below it. Errors raised meanwhile name the
    address and not the copy. Raises ConfigError where nothing is there, StorageError.
    """
    if not is_s3(address):
        yield Path(address)
        return
    place = _below_a_bucket(address)
    with tempfile.TemporaryDirectory(prefix="arbitrage-") as temporary:
        path = Path(temporary) / place.name
        if not _download(S3Bucket(place), place, path):
            raise ConfigError(f'there is nothing at "{place}".', mend="Fix the address.")
        with _told_of(path, place):
            yield path


@contextmanager
def taken_away(address: str | Path, *, empty: bool = False) -> Iterator[Path]:
    """A local path to write `address` to: itself, or one that is uploaded when this ends well.

    Files are uploaded in the order in which they were written, so one that is written last as a
    mark that the others are whole is uploaded last.

    Args:
        empty: refuse an s3:// address that holds something already (OutputError).
    """
    if not is_s3(address):
        yield Path(address)
        return
    place = _below_a_bucket(address)
    bucket = S3Bucket(place)
    if empty and next(bucket.names(place.key("")), None) is not None:
        raise OutputError(
            f'"{place}" is not empty, and an export never overwrites.', mend="Name a new place."
        )
    with tempfile.TemporaryDirectory(prefix="arbitrage-") as temporary:
        path = Path(temporary) / place.name
        with _told_of(path, place):
            yield path
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file)):
            name = file.relative_to(path).as_posix() if file != path else ""
            key = place.key(name) if name else place.prefix
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            bucket.upload(key, file, digest)


def _below_a_bucket(address: str | Path) -> S3Place:
    place = parse_s3(address)
    if not place.prefix:
        raise ConfigError(f'"{place}" is a whole bucket.', mend="Name an object or a prefix in it.")
    return place


def _download(bucket: Bucket, place: S3Place, path: Path) -> bool:
    """Copy the object, or all below it; whether there was anything."""
    if bucket.download(place.prefix, path) is not None:
        return True
    path.unlink(missing_ok=True)
    start = len(place.key(""))
    found = (key[start:] for key in bucket.names(place.key("")))
    names = [name for name in found if not is_folder_mark(name)]
    for name in names:
        target = path / name
        if not target.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f'"{place}" holds "{name}", which names no place below it.')
        target.parent.mkdir(parents=True, exist_ok=True)
        bucket.download(place.key(name), target)
    return bool(names)


@contextmanager
def _told_of(path: Path, place: S3Place) -> Iterator[None]:
    try:
        yield
    except ArbitrageError as error:
        copy, address = str(path), str(place)
        error.what, error.mend = (said.replace(copy, address) for said in (error.what, error.mend))
        error.args = (str(error).replace(copy, address),)
        raise

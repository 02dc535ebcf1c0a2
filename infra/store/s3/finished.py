"""A finished run in an object store: its manifest read at once, its files when they are used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from arbitrage.errors import ConfigError, DamagedRunError
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import FileEntry, Folder
from arbitrage.infra.store.manifest import read_manifest
from arbitrage.infra.store.open import FinishedRun
from arbitrage.infra.store.s3.bring import bring_files, bring_one, damaged
from arbitrage.infra.store.s3.bucket import S3Bucket
from arbitrage.infra.store.s3.place import S3Place, is_folder_mark


class S3FinishedRun(FinishedRun):
    """A FinishedRun whose files are downloaded to the local folder when they are first read."""

    def __init__(self, place: S3Place, folder: Folder, manifest: dict[str, Any]) -> None:
        super().__init__(folder, manifest)
        self.place = place
        self._bucket = S3Bucket(place)
        self._entries = {entry.path: entry for entry in listed(manifest)}

    @property
    def address(self) -> str:
        return str(self.place)

    @property
    def output(self) -> S3Place:
        return self.place.parent

    def bring(self, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in self._entries]
        if missing:
            raise damaged(self.place, missing[0])
        entries = [self._entries[name] for name in names]
        bring_files(self._bucket, self.place, self.folder, entries)

    def whole(self) -> Path:
        self.bring(list(self._entries))
        return self.folder.root

    def save(self, name: str, data: bytes) -> str:
        self._bucket.put(self.place.key(name), data)
        return f"{self.place}/{name}"


def open_s3_run(place: S3Place) -> S3FinishedRun:
    """Open a finished run of an object store; DamagedRunError where there is no whole manifest."""
    found = S3Bucket(place).get(place.key(layout.MANIFEST))
    if found is None:
        raise DamagedRunError(
            f'"{place}" has no manifest.json: it is not a finished run.',
            mend="Finish it with `arbitrage run CONFIG --run-id ID`, or name another place.",
        )
    folder = Folder(place.folder())
    local = folder / layout.MANIFEST
    if not local.is_file() or local.read_bytes() != found.data:
        if folder.exists(layout.WORK) and not local.is_file():
            raise ConfigError(
                f'"{folder.root}" holds an unfinished run, though the one in "{place}" is whole.',
                mend="Remove that folder: everything of the run is in the store.",
            )
        folder.remove(layout.WORK, layout.VIEWS, *layout.PARTS)
        folder.write_bytes(layout.MANIFEST, found.data)
    return S3FinishedRun(place, folder, read_manifest(folder))


@contextmanager
def brought_afresh(place: S3Place) -> Iterator[Path]:
    """The whole run as it lies in the store now, in a folder that goes when the context ends.

    Damaged and missing objects are brought as they are, for `verify_run` to find. Needs as much
    disk as the run is large.
    """
    bucket = S3Bucket(place)
    work = place.folder().parent
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{place.name}.verify-", dir=work) as temporary:
        folder = Folder(Path(temporary))
        if bring_one(bucket, place, folder, layout.MANIFEST):
            names = set(_listed_names(folder))
            start = len(place.key(""))
            for kind in (*layout.PARTS, layout.VIEWS):
                # What is listed here and not in the manifest is found by verify; what a stale
                # list lacks is brought all the same.
                found = (key[start:] for key in bucket.names(place.key(f"{kind}/")))
                names.update(name for name in found if not is_folder_mark(name))
            for name in sorted(names):
                bring_one(bucket, place, folder, name)
        yield folder.root


def listed(manifest: dict[str, Any]) -> list[FileEntry]:
    """Every file a manifest lists."""
    entries = [entry for shard in manifest["shards"] for entry in shard["files"]]
    entries += [entry for view in manifest["views"].values() for entry in view["files"]]
    return [FileEntry(**entry) for entry in entries]


def _listed_names(folder: Folder) -> list[str]:
    try:
        return [entry.path for entry in listed(read_manifest(folder))]
    except (DamagedRunError, orjson.JSONDecodeError):
        return []

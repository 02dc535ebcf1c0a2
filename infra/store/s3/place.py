"""Where in an object store something lies, and which local folder stands for it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from arbitrage.config.storage import Storage
from arbitrage.errors import ConfigError

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket and a key prefix without slashes at its ends; a run's place, or what holds runs."""

    bucket: str
    prefix: str
    storage: Storage = field(default_factory=Storage, compare=False)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def __truediv__(self, name: str) -> S3Place:
        return S3Place(self.bucket, f"{self.prefix}/{name}".strip("/"), self.storage)

    @property
    def name(self) -> str:
        return self.prefix.rpartition("/")[2]

    @property
    def parent(self) -> S3Place:
        return S3Place(self.bucket, self.prefix.rpartition("/")[0], self.storage)

    def key(self, name: str) -> str:
        """The object key of a file of this place."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def folder(self) -> Path:
        """The local folder that stands for this place; the same on every start on this machine."""
        named = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint = self.storage.endpoint_url or next(filter(None, named), "")
        where = f"{endpoint}|{self.bucket}|{self.parent.prefix}"
        mark = hashlib.sha256(where.encode()).hexdigest()[:12]
        return _work_folder(self.storage) / f"{self.bucket}-{mark}" / self.name


def is_folder_mark(name: str) -> bool:
    """Whether an object, by its name below a place, is what some tools write to show a folder.

    >>> is_folder_mark(""), is_folder_mark("views/"), is_folder_mark("views/a.arrow")
    (True, True, False)
    """
    return not name or name.endswith("/")


def is_s3(uri: object) -> bool:
    """Whether a path as a person gives it names an object store.

    >>> is_s3("s3://bucket/runs"), is_s3("runs/s3")
    (True, False)
    """
    return isinstance(uri, S3Place) or str(uri).startswith(SCHEME)


def parse_s3(uri: object, storage: Storage | None = None) -> S3Place:
    """The place a URI names; ConfigError where it names no bucket.

    >>> str(parse_s3("s3://bucket/runs//nightly/"))
    's3://bucket/runs/nightly'
    """
    if isinstance(uri, S3Place):
        return uri
    bucket, _, prefix = str(uri).removeprefix(SCHEME).partition("/")
    parts = [part for part in prefix.split("/") if part]
    if not bucket or any(part in {".", ".."} for part in parts):
        raise ConfigError(
            f'"{uri}" is not a place in a bucket.', mend="Write s3://BUCKET or s3://BUCKET/PREFIX."
        )
    return S3Place(bucket, "/".join(parts), storage or Storage())


def _work_folder(storage: Storage) -> Path:
    if storage.work_folder:
        return Path(storage.work_folder).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "arbitrage" / "runs"

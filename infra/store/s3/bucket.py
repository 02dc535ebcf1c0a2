"""One bucket, in the few calls a run store needs. What tests put in its place is a Protocol too."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from arbitrage.infra.store.s3.failures import (
    StorageError,
    is_absent,
    is_conflict,
    is_unknown,
    refused,
    told,
)
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.session import client_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES = 5
_LONGEST_WAIT_S = 8.0
_READ_BYTES = 2**20
_DELETED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Read:
    """An object's bytes, and for how long it has not been written, by the store's own clock."""

    data: bytes
    age_s: float


class Bucket(Protocol):
    """Objects by key. Every call is tried again, with jitter, while what fails may pass.

    Raises StorageError.
    """

    def get(self, key: str, start: int = 0, size: int | None = None) -> Read | None: ...

    def put(self, key: str, data: bytes, *, new: bool = False) -> bool:
        """Write an object; with `new`, False where another's is there and the store can tell."""
        ...

    def upload(self, key: str, path: Path, sha256: str, *, new: bool = False) -> bool:
        """Write a file; with `new`, False where another's is there and the store can tell."""
        ...

    def download(self, key: str, path: Path) -> str | None:
        """Write an object to a file, which is complete when this returns; its sha256, or None."""
        ...

    def names(self, prefix: str) -> Iterator[str]: ...

    def delete(self, keys: Iterable[str]) -> None: ...

    def abandon(self, prefix: str) -> int:
        """Abort the uploads in parts below a prefix that nobody finished; how many."""
        ...


class _PresentError(Exception):
    """The object is there already."""


class S3Bucket:
    """A bucket behind the S3 protocol, through botocore, which tries passing failures again.

    What botocore leaves out is done here: an answer that breaks off in its body, a write that took
    effect although the answer says otherwise, a multipart upload that has to be aborted, and a
    store that does not know conditions or deletes one object a call.

    Attributes:
        conditional: whether the store has not refused a conditional put. One that ignores the
            condition cannot be told from one that keeps it here; `check_s3_output` finds out.
    """

    def __init__(self, place: S3Place) -> None:
        self._name = place.bucket
        self._part_bytes = place.storage.part_bytes
        self._client = client_of(place.storage)
        self._many_at_once = True
        self.conditional = True

    def get(self, key: str, start: int = 0, size: int | None = None) -> Read | None:
        asked = {} if size is None else {"Range": f"bytes={start}-{start + size - 1}"}

        def read() -> Read:
            answer = self._client.get_object(Bucket=self._name, Key=key, **asked)
            return Read(answer["Body"].read(), _age_s(answer))

        if size == 0:
            return Read(b"", 0.0)
        return self._present(key, read)

    def put(self, key: str, data: bytes, *, new: bool = False) -> bool:
        def write(condition: dict[str, str]) -> None:
            self._client.put_object(Bucket=self._name, Key=key, Body=data, **condition)

        if self._written(key, write, new=new):
            return True
        # An earlier try may have taken effect although its answer was lost.
        present = self.get(key)
        return present is not None and present.data == data

    def upload(self, key: str, path: Path, sha256: str, *, new: bool = False) -> bool:
        size = path.stat().st_size
        mark = {"Metadata": {"sha256": sha256}}

        def write(condition: dict[str, str]) -> None:
            with path.open("rb") as file:
                self._client.put_object(Bucket=self._name, Key=key, Body=file, **mark, **condition)

        def write_parts(condition: dict[str, str]) -> None:
            if condition and self._head(key) is not None:
                raise _PresentError  # before the parts are sent, not after
            self._in_parts(key, path, size, mark)

        if self._written(key, write_parts if size > self._part_bytes else write, new=new):
            return True
        return self._is_whole(key, size, sha256)

    def download(self, key: str, path: Path) -> str | None:
        def read() -> str:
            answer = self._client.get_object(Bucket=self._name, Key=key)
            digest = hashlib.sha256()
            with path.open("wb") as file:
                while block := answer["Body"].read(_READ_BYTES):
                    digest.update(block)
                    file.write(block)
            return digest.hexdigest()

        return self._present(key, read)

    def names(self, prefix: str) -> Iterator[str]:
        more: dict[str, str] = {}
        while True:

            def page(more: dict[str, str] = more) -> dict[str, Any]:
                found: dict[str, Any] = self._client.list_objects_v2(
                    Bucket=self._name, Prefix=prefix, **more
                )
                return found

            answer = self._patient(prefix, page)
            yield from (item["Key"] for item in answer.get("Contents", []))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def delete(self, keys: Iterable[str]) -> None:
        left = list(keys)
        while left:
            now, left = left[:_DELETED_AT_ONCE], left[_DELETED_AT_ONCE:]
            if self._many_at_once:
                self._patient(now[0], partial(self._delete, now))
            if not self._many_at_once:  # the store has just said so
                for key in now:
                    asked = partial(self._client.delete_object, Bucket=self._name, Key=key)
                    self._patient(key, asked, absent=True)

    def abandon(self, prefix: str) -> int:
        count = 0
        more: dict[str, str] = {}
        while True:
            listed = partial(
                self._client.list_multipart_uploads, Bucket=self._name, Prefix=prefix, **more
            )
            answer = self._patient(prefix, listed)
            for begun in answer.get("Uploads", []):
                target = {"Bucket": self._name, "Key": begun["Key"], "UploadId": begun["UploadId"]}
                abort = partial(self._client.abort_multipart_upload, **target)
                self._patient(begun["Key"], abort, absent=True)
                count += 1
            if not answer.get("IsTruncated"):
                return count
            more = {
                "KeyMarker": answer["NextKeyMarker"],
                "UploadIdMarker": answer["NextUploadIdMarker"],
            }

    def _written(self, key: str, write: Callable[[dict[str, str]], None], *, new: bool) -> bool:
        """Write, on the condition that nothing is there if `new`; False where something is."""

        def attempt() -> bool:
            condition = {"IfNoneMatch": "*"} if new and self.conditional else {}
            if new and not condition and self._head(key) is not None:
                return False  # all that a store without conditions can say
            try:
                write(condition)
            except _PresentError:
                return False
            except self._errors as error:
                if condition and is_unknown(error):
                    logger.warning(
                        "the store of s3://%s knows no conditional put: that one process at a "
                        "time writes a run rests on its lease alone",
                        self._name,
                    )
                    self.conditional = False
                    return attempt()
                if condition and is_conflict(error):
                    return False
                raise
            return True

        return bool(self._patient(key, attempt))

    def _delete(self, keys: list[str]) -> None:
        asked = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = self._client.delete_objects(Bucket=self._name, Delete=asked)
        except self._errors as error:
            if not is_unknown(error):
                raise
            self._many_at_once = False
            return
        # An answer of 200 may hold refusals.
        for failed in answer.get("Errors", [])[:1]:
            raise refused("DeleteObjects", failed)

    def _head(self, key: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._present(
            key, partial(self._client.head_object, Bucket=self._name, Key=key)
        )
        return found

    def _in_parts(self, key: str, path: Path, size: int, mark: dict[str, Any]) -> None:
        """Upload in parts, one in memory at a time; aborted unless it is completed."""
        target = {"Bucket": self._name, "Key": key}
        begun = self._patient(key, lambda: self._client.create_multipart_upload(**target, **mark))
        upload = {**target, "UploadId": begun["UploadId"]}
        try:
            parts = []
            with path.open("rb") as file:
                for number, _ in enumerate(range(0, size, self._part_bytes), 1):
                    body = file.read(self._part_bytes)
                    sent = self._patient(
                        key,
                        partial(self._client.upload_part, **upload, PartNumber=number, Body=body),
                    )
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            self._complete(upload, parts, size, mark["Metadata"]["sha256"])
        except BaseException:
            self._abort(upload)
            raise

    def _complete(self, upload: dict[str, str], parts: list[Any], size: int, sha256: str) -> None:
        def complete() -> None:
            try:
                self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            except self._errors as error:
                if not self._is_whole(upload["Key"], size, sha256):
                    raise error from None

        self._patient(upload["Key"], complete)

    def _is_whole(self, key: str, size: int, sha256: str) -> bool:
        """Whether the object is there already, as after a write that seemed to fail."""
        try:
            head = self._client.head_object(Bucket=self._name, Key=key)
        except self._errors:
            return False
        return bool(head["ContentLength"] == size and head["Metadata"].get("sha256") == sha256)

    def _abort(self, upload: dict[str, str]) -> None:
        """Give up the parts; where even that fails `abandon` has to, at the next start."""
        try:
            self._patient(
                upload["Key"], lambda: self._client.abort_multipart_upload(**upload), absent=True
            )
        except StorageError:
            return

    def _present(self, key: str, read: Callable[[], T]) -> T | None:
        found: T | None = self._patient(key, read, absent=True)
        return found

    def _patient(self, key: str, call: Callable[[], T], *, absent: bool = False) -> Any:
        for attempt in range(_TRIES):
            try:
                return call()
            except self._errors as error:
                if absent and is_absent(error):
                    return None
                failure = told(f"s3://{self._name}/{key}", error)
                if not failure.passing or attempt == _TRIES - 1:
                    raise failure from None  # stores repeat tokens in what they say
                time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.2 * 2**attempt)))  # noqa: S311
        raise AssertionError("unreachable")

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        import botocore.exceptions as boto  # noqa: PLC0415 - a quarter of a second to import
        import urllib3.exceptions as wire  # noqa: PLC0415

        return (boto.ClientError, boto.BotoCoreError, wire.HTTPError, ConnectionError, TimeoutError)


def _age_s(answer: dict[str, Any]) -> float:
    now = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if not now:
        return 0.0
    age: float = (parsedate_to_datetime(now) - answer["LastModified"]).total_seconds()
    return max(0.0, age)

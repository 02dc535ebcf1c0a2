"""One bucket, in the few calls a run store needs. What tests put in its place is a Protocol too."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from arbitrage.infra.store.s3.failures import StorageError, is_absent, is_conflict, told
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.session import client_of

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

    def upload(self, key: str, path: Path, sha256: str) -> None: ...

    def download(self, key: str, path: Path) -> str | None:
        """Write an object to a file, which is complete when this returns; its sha256, or None."""
        ...

    def names(self, prefix: str) -> Iterator[str]: ...

    def delete(self, keys: Iterable[str]) -> None: ...


class S3Bucket:
    """A bucket behind the S3 protocol, through botocore, which tries passing failures again.

    What botocore leaves out is done here: an answer that breaks off in its body, a write that took
    effect although the answer says otherwise, and a multipart upload that has to be aborted.
    """

    def __init__(self, place: S3Place) -> None:
        self._name = place.bucket
        self._part_bytes = place.storage.part_bytes
        self._client = client_of(place.storage)

    def get(self, key: str, start: int = 0, size: int | None = None) -> Read | None:
        asked = {} if size is None else {"Range": f"bytes={start}-{start + size - 1}"}

        def read() -> Read:
            answer = self._client.get_object(Bucket=self._name, Key=key, **asked)
            return Read(answer["Body"].read(), _age_s(answer))

        if size == 0:
            return Read(b"", 0.0)
        return self._present(key, read)

    def put(self, key: str, data: bytes, *, new: bool = False) -> bool:
        condition = {"IfNoneMatch": "*"} if new else {}

        def write() -> bool:
            try:
                self._client.put_object(Bucket=self._name, Key=key, Body=data, **condition)
            except self._errors as error:
                if not is_conflict(error):
                    raise
                return False
            return True

        if self._patient(key, write):
            return True
        # An earlier try may have taken effect although its answer was lost.
        present = self.get(key)
        return present is not None and present.data == data

    def upload(self, key: str, path: Path, sha256: str) -> None:
        size = path.stat().st_size
        mark = {"Metadata": {"sha256": sha256}}
        if size > self._part_bytes:
            self._in_parts(key, path, size, mark)
            return

        def write() -> None:
            with path.open("rb") as file:
                self._client.put_object(Bucket=self._name, Key=key, Body=file, **mark)

        self._patient(key, write)

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
            asked = {"Objects": [{"Key": key} for key in now], "Quiet": True}
            self._patient(
                now[0], partial(self._client.delete_objects, Bucket=self._name, Delete=asked)
            )

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
                if not self._is_whole(upload, size, sha256):
                    raise error from None

        self._patient(upload["Key"], complete)

    def _is_whole(self, upload: dict[str, str], size: int, sha256: str) -> bool:
        """Whether the object is there although its completion seemed to fail."""
        try:
            head = self._client.head_object(Bucket=upload["Bucket"], Key=upload["Key"])
        except self._errors:
            return False
        return bool(head["ContentLength"] == size and head["Metadata"].get("sha256") == sha256)

    def _abort(self, upload: dict[str, str]) -> None:
        """Give up the parts; where even that fails the store's own rule for stale ones has to."""
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

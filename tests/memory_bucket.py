"""A bucket in memory, in the place of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from arbitrage.infra.store.s3.bucket import Read
from arbitrage.infra.store.s3.failures import StorageError


class MemoryBucket:
    """Objects in memory. `refuses`: whether a conditional put of a key that is there fails."""

    def __init__(self, *, refuses: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuses = refuses
        self.lost_answers = 0
        self.age_s = 0.0

    def get(self, key: str, start: int = 0, size: int | None = None) -> Read | None:
        data = self.objects.get(key)
        if data is None:
            return None
        return Read(data[start : len(data) if size is None else start + size], self.age_s)

    def put(self, key: str, data: bytes, *, new: bool = False) -> bool:
        if new and self.refuses and key in self.objects:
            return self.objects[key] == data
        self.objects[key] = data
        if self.lost_answers:
            self.lost_answers -= 1
            raise StorageError("no answer", mend="", passing=True)
        return True

    def upload(self, key: str, path: Path, sha256: str, *, new: bool = False) -> bool:
        return self.put(key, path.read_bytes(), new=new)

    def download(self, key: str, path: Path) -> str | None:
        if key not in self.objects:
            return None
        path.write_bytes(self.objects[key])
        return hashlib.sha256(self.objects[key]).hexdigest()

    def names(self, prefix: str) -> Iterator[str]:
        return iter([key for key in self.objects if key.startswith(prefix)])

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self.objects.pop(key, None)

    def abandon(self, prefix: str) -> int:
        return 0

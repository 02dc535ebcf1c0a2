"""The commit log of an unfinished run: numbered objects, each written once and naming its keys.

Nothing is ever found by listing. A reader starts at the last whole entry that `head.json` knows of
and asks for one number after the other; a stale head only makes it ask for more of them.

An entry names the writer of the one before it. On a store that cannot refuse a second write of a
number, one of two writers overwrites the other's entry, and what the other wrote after it does not
follow: it was never committed, and the next writer takes its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from arbitrage.errors import DamagedRunError, RunConflictError
from arbitrage.infra.store import layout
from arbitrage.infra.store.s3.bucket import Bucket
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.state import Change, State

_LOG = f"{layout.WORK}/log"
_HEAD = f"{layout.WORK}/head.json"
# A reader asks for at most about so many entries.
_WHOLE_EVERY = 64


class CommitLog:
    """The log of one run and the state it adds up to.

    Attributes:
        state: after the last commit.
        number: of the last commit, 0 before the first.
        writer: token of who wrote it, "" before the first.
    """

    def __init__(self, bucket: Bucket, place: S3Place) -> None:
        self._bucket = bucket
        self._place = place
        self._whole = 0
        self.state = State()
        self.number = 0
        self.writer = ""

    def replay(self) -> None:
        """Read what is committed. DamagedRunError where an entry is missing that must be there."""
        head = self._read(self._place.key(_HEAD)) or {"whole": 1, "number": 0}
        self.state, self.number, self.writer = State(), head["whole"] - 1, ""
        while entry := self._read(self._key(self.number + 1)):
            first = self.number == head["whole"] - 1
            if not first and entry["after"] != self.writer:
                break
            if first and head["whole"] > 1 and not entry["whole"]:
                raise self._damaged(f"entry {entry['number']} of its commit log was overwritten")
            if entry["whole"]:
                self.state, self._whole = State(), entry["number"]
            self.state.apply(self._own(entry["changes"]))
            self.number, self.writer = entry["number"], entry["writer"]
        if self.number < head["number"]:
            raise self._damaged(
                f"entry {self.number + 1} of its commit log is gone, which went up to "
                f"{head['number']}"
            )

    def _own(self, data: Iterable[Any]) -> list[Change]:
        """An entry's changes; DamagedRunError for objects of others: who can write to the log must
        not read by our rights."""
        changes = [Change.from_json(change) for change in data]
        for change in changes:
            if change.piece is not None and not change.piece.key.startswith(self._place.key("")):
                raise DamagedRunError(
                    f'"{self._place}" names an object outside of it: "{change.piece.key}".',
                    mend="Trust nothing in that place, or start another run with --new.",
                )
        return changes

    def commit(self, changes: Iterable[Change], writer: str) -> list[str]:
        """Add an entry; returns the keys that no file uses any more.

        RunConflictError where another writer was quicker and the store can tell.
        """
        changes = list(changes)
        self._write(changes, writer, whole=False)
        unused = self.state.apply(changes)
        if self.number - self._whole >= _WHOLE_EVERY:
            self._write(self.state.whole(), writer, whole=True)
            self._whole = self.number
            head = {"whole": self.number, "number": self.number}
            self._bucket.put(self._place.key(_HEAD), orjson.dumps(head))
        return unused

    def _write(self, changes: list[Change], writer: str, *, whole: bool) -> None:
        number = self.number + 1
        entry = {
            "number": number,
            "writer": writer,
            "after": self.writer,
            "whole": whole,
            "changes": [change.to_json() for change in changes],
        }
        data = orjson.dumps(entry)
        if not self._bucket.put(self._key(number), data, new=True):
            self._take_over(number, data, writer)
        self.number, self.writer = number, writer

    def _take_over(self, number: int, data: bytes, writer: str) -> None:
        """Settle whose entry is there already. Ours, its answer lost: take it in, and have the
        caller commit what is left. One that does not follow on the last: overwrite it.
        """
        entry = self._read(self._key(number))
        if entry is not None and entry["writer"] == writer:
            if not entry["whole"]:
                self.state.apply(self._own(entry["changes"]))
            self.number, self.writer = number, writer
            raise StorageError(
                f'"{self._place}": the answer to commit {number} was lost, which is there.',
                mend="It is tried again by itself.",
                passing=True,
            )
        if entry is None or entry["after"] == self.writer:
            raise RunConflictError(
                f'the run "{self._place}" is being written by another machine as well.',
                mend="Let one of them finish; what this one had not uploaded is asked again.",
            )
        self._bucket.put(self._key(number), data)

    def _read(self, key: str) -> Any:
        found = self._bucket.get(key)
        if found is None:
            return None
        try:
            return orjson.loads(found.data)
        except orjson.JSONDecodeError as error:
            raise self._damaged(f'the object "{key}" is no JSON, {error}') from error

    def _damaged(self, what: str) -> DamagedRunError:
        return DamagedRunError(
            f'"{self._place}" is damaged: {what}.',
            mend="Restore the object, or start another run with --new.",
        )

    def _key(self, number: int) -> str:
        return self._place.key(f"{_LOG}/{number:010d}.json")


def has_log(bucket: Bucket, place: S3Place) -> bool:
    """Whether a run was begun there and something of it committed."""
    names = (_HEAD, f"{_LOG}/{1:010d}.json")
    return any(bucket.get(place.key(name)) is not None for name in names)

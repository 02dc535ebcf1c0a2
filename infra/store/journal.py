"""The journal of one shard: every finished request, appended in commit groups, replayed on resume.

A group is whatever finished within some milliseconds of its first row, or while the last one was
being fsynced: a slow teacher's answers are durable at once, a fast one's share a frame and an
fsync, which a disk with a fast fsync would otherwise do for every row. At most `group_rows`
finished candidates are ever waiting to become durable: beyond that `record` makes its caller wait.
After `kill -9` the requests asked again are those in flight plus at most that one group.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from arbitrage.infra.store.frames import SegmentWriter, read_segment
from arbitrage.schema import GENERATED

# `detail` explains an error; `retryable` says that a resumed run asks again.
SCHEMA = pa.schema([*GENERATED, pa.field("detail", pa.string()), pa.field("retryable", pa.bool_())])
GROUP_ROWS = 1024
GATHER_S = 0.02


class Journal:
    """Journal of one shard. Rows are dicts with the columns of GENERATED, `detail`, `retryable`.

    `record` is called on the teachers' event loop; a thread of its own does the writing.
    """

    def __init__(self, folder: Path, *, group_rows: int = GROUP_ROWS) -> None:
        self._folder = folder
        self._group_rows = group_rows
        self._condition = threading.Condition()
        self._buffer: list[Mapping[str, Any]] = []
        self._undurable = 0
        self._closing = False
        self._failure: BaseException | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def rows(self) -> pa.Table:
        """Everything recorded so far, the latest row of each candidate id winning."""
        batches = list(self._batches())
        table = pa.Table.from_batches(batches, schema=SCHEMA)
        ids = table.column("candidate_id").to_pylist()
        last = {candidate: row for row, candidate in enumerate(ids)}
        return table if len(last) == len(ids) else table.take(pa.array(sorted(last.values())))

    def finished(self) -> set[str]:
        """Candidate ids that need not be asked for again: answered, or failed for good."""
        table = self.rows()
        columns = (table.column("candidate_id").to_pylist(), table.column("retryable").to_pylist())
        return {candidate for candidate, retryable in zip(*columns, strict=True) if not retryable}

    def record(self, rows: Sequence[Mapping[str, Any]]) -> Awaitable[None] | None:
        """Hand over finished candidates; what to await where a whole group is waiting already."""
        with self._condition:
            self._raise_failure()
            self._start()
            if not self._buffer or self._undurable + len(rows) >= self._group_rows:
                self._condition.notify()  # the writer needs no waking for rows in between
            self._buffer.extend(rows)
            self._undurable += len(rows)
            if self._undurable < self._group_rows:
                return None
            loop = asyncio.get_running_loop()
            room: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, room))
        return self._until(room)

    async def _until(self, room: asyncio.Future[None]) -> None:
        await room
        with self._condition:
            self._raise_failure()

    def close(self) -> None:
        """Make everything recorded durable; raises what went wrong while writing."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
        self._raise_failure()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_groups, name="journal", daemon=True)
            self._thread.start()

    def _write_groups(self) -> None:
        try:
            writer = SegmentWriter(self._next_segment())
            try:
                while group := self._next_group():
                    writer.append(pa.RecordBatch.from_pylist(group, schema=SCHEMA))
                    self._release(len(group))
            finally:
                writer.close()
        except BaseException as error:  # noqa: BLE001 - handed to every caller of record and close
            with self._condition:
                self._failure = error
            self._release(0)

    def _next_group(self) -> list[Any]:
        with self._condition:
            self._condition.wait_for(lambda: self._buffer or self._closing)
            self._condition.wait_for(self._must_write, timeout=GATHER_S)
            group, self._buffer = self._buffer, []
            return group

    def _must_write(self) -> bool:
        return self._closing or self._undurable >= self._group_rows

    def _release(self, rows: int) -> None:
        with self._condition:
            self._undurable -= rows
            waiting, self._waiting = self._waiting, []
        for loop, room in waiting:
            loop.call_soon_threadsafe(_set_result, room)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _next_segment(self) -> Path:
        return self._folder / f"{len(self._segments()):05d}.frames"

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.frames"))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for segment in self._segments():
            yield from read_segment(segment)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""The usage log of a run: what each teacher has used, in lines that outlive the process.

Beside the journal and not in it: journals go when their shard is scored, and what an answer cost
stays spent when the answer itself is lost. One segment a process; under load at most 20 lines a
second, so counting costs next to nothing, and a `kill -9` loses what came within 50 ms of the last
line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import orjson

from arbitrage.infra.generation.usage import TeacherUsage, was_sent
from arbitrage.infra.store.files import cannot_write, write_all
from arbitrage.infra.teachers.base import Completion, Request

_EVERY_S = 0.05


class Mark(NamedTuple):
    """A place in a usage log: a segment's name, and bytes in it."""

    segment: str
    offset: int


class UsageLog:
    """Appends to one segment. Thread-safe; `close` after the last `record`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._waiting: dict[str, TeacherUsage] = {}
        self._written = 0.0

    def record(self, request: Request, completions: Sequence[Completion]) -> None:
        """Count one finished request; on disk at once, or with the next line where the last one is
        less than 50 ms old."""
        if not was_sent(completions):
            return
        with self._lock:
            used = self._waiting.get(request.teacher)
            if used is None:
                used = self._waiting[request.teacher] = TeacherUsage()
            used.count(request, completions, time.time())
            if time.monotonic() - self._written >= _EVERY_S:
                self._write()

    def add(self, name: str, used: TeacherUsage) -> None:
        """Count what somebody else than a teacher used; on disk as by `record`."""
        with self._lock:
            self._waiting.setdefault(name, TeacherUsage()).merge(used)
            if time.monotonic() - self._written >= _EVERY_S:
                self._write()

    def flush(self) -> None:
        """Write what waits for the next line."""
        with self._lock:
            self._write()

    def mark(self) -> Mark:
        """Where the next line goes: `used_since` it is what this log counts from now on."""
        with self._lock:
            self._write()
            file = self._opened()
            return Mark(Path(str(file.name)).name, file.tell())

    def close(self) -> None:
        with self._lock:
            self._write()
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        if not self._waiting:
            return
        line = orjson.dumps({name: used.to_json() for name, used in self._waiting.items()})
        file = self._opened()
        try:
            write_all(file, line + b"\n")
        except OSError as error:
            self._close()  # a line behind a torn one would be torn with it
            raise cannot_write(self._folder, error) from error
        self._waiting.clear()
        self._written = time.monotonic()

    def _opened(self) -> FileIO:
        if self._file is None:
            try:
                self._file = self._open()
            except OSError as error:
                raise cannot_write(self._folder, error) from error
        return self._file

    def _open(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.glob("*.jsonl")))
        while True:
            try:
                return FileIO(self._folder / f"{number:05d}.jsonl", "x")
            except FileExistsError:  # another process of the same run began its own just now
                number += 1


def read_usage(folder: Path) -> dict[str, dict[str, float]]:
    """Teacher -> its sums over all segments, with `seconds`: their spans, pauses between left out.

    A torn last line is passed over: its process was killed while it wrote.
    """
    total: dict[str, TeacherUsage] = {}
    seconds: dict[str, float] = {}
    for path in sorted(folder.glob("*.jsonl")):
        segment: dict[str, TeacherUsage] = {}
        for line in _whole_lines(path):
            for name, data in line.items():
                segment.setdefault(name, TeacherUsage()).merge(TeacherUsage.from_json(data))
        for name, used in segment.items():
            total.setdefault(name, TeacherUsage()).merge(used)
            seconds[name] = seconds.get(name, 0.0) + used.seconds
    return {name: {**used.to_json(), "seconds": seconds[name]} for name, used in total.items()}


def used_since(folder: Path, mark: Mark) -> dict[str, dict[str, float]]:
    """Teacher -> its sums in the mark's segment, from the mark on."""
    total: dict[str, TeacherUsage] = {}
    for line in _whole_lines(folder / mark.segment, mark.offset):
        for name, data in line.items():
            total.setdefault(name, TeacherUsage()).merge(TeacherUsage.from_json(data))
    return {name: used.to_json() for name, used in total.items()}


def merged_usage(
    one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Two usages as `read_usage` gives them, summed: of a run, and of deciding it again.

    >>> merged_usage({"a": {"requests": 2, "began": 5.0}}, {"a": {"requests": 1, "began": 9.0}})
    {'a': {'requests': 3, 'began': 5.0}}
    """
    found = {name: dict(used) for name, used in one.items()}
    for name, used in other.items():
        mine = found.setdefault(name, {})
        for key, value in used.items():
            if key in ("began", "ended") and key in mine:
                mine[key] = (min if key == "began" else max)(mine[key], value)
            else:
                mine[key] = mine.get(key, 0) + value
    return found


def spent(usage: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What everything used comes to, by the names of a budget: usd, tokens, requests.

    Attempts that failed and were sent again are not in the log, so neither are they here.
    """
    return {
        "usd": sum(used["cost_usd"] for used in usage.values()),
        "tokens": sum(used["prompt_tokens"] + used["completion_tokens"] for used in usage.values()),
        "requests": sum(used["requests"] for used in usage.values()),
    }


def _whole_lines(path: Path, offset: int = 0) -> Iterator[dict[str, dict[str, float]]]:
    for line in path.read_bytes()[offset:].splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield orjson.loads(line)

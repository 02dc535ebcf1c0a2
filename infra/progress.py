"""What a run in this process has done so far: counters that tasks add to and a display reads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters at one moment. `stage` is the step under way, in words."""

    stage: str = "starting the flow"
    shards: int = 0
    shards_scored: int = 0
    shards_decided: int = 0
    prompts: int = 0
    unroutable: int = 0
    requested: int = 0
    finished: int = 0
    failed: int = 0


class Board:
    """Thread-safe counters of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = Snapshot()

    def reset(self) -> None:
        with self._lock:
            self._snapshot = Snapshot()

    def enter(self, stage: str) -> None:
        """Name the step under way."""
        with self._lock:
            self._snapshot = replace(self._snapshot, stage=stage)

    def add(self, **counts: int) -> None:
        """Add to counters by name."""
        with self._lock:
            current = self._snapshot
            sums = {name: getattr(current, name) + count for name, count in counts.items()}
            self._snapshot = replace(current, **sums)

    def read(self) -> Snapshot:
        with self._lock:
            return self._snapshot

    def __reduce__(self) -> str:
        # A task that is sent to another process finds that process's own board there.
        return "board"


board = Board()

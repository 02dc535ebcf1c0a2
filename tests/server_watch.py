"""Which model servers run below this process, looked up in /proc while something else goes on."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from fake_vllm import runs

_EVERY_S = 0.1


class ServerWatch:
    """A context manager; `seen` and `most_at_once` are what it saw.

    Attributes:
        seen: word of the server's command line (say, its model) -> pid -> the process's name, of
            the supervised command and everything it started, however they call themselves.
        loads: word -> how many commands with it were started.
        most_at_once: servers that ran at the same time.
    """

    def __init__(self, *words: str) -> None:
        self.seen: dict[str, dict[int, str]] = {word: {} for word in words}
        self.supervisors: dict[str, set[int]] = {word: set() for word in words}
        self.most_at_once = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def loads(self) -> dict[str, int]:
        return {word: len(pids) for word, pids in self.supervisors.items()}

    def alive(self, word: str, name: str = "") -> list[int]:
        """Pids that were seen for this word, whose name begins so, and that still run."""
        seen = self.seen[word].copy().items()
        return [pid for pid, called in seen if called.startswith(name) and runs(pid)]

    def __enter__(self) -> ServerWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        parents, names = _processes()
        at_once = 0
        for word, pids in self.supervisors.items():
            # A fork of the supervisor looks like it until it runs the command.
            ours = (pid for pid, parent in parents.items() if parent == os.getpid())
            pids |= {pid for pid in ours if _supervises(pid, word)}
            below = {pid for pid in parents if pids & set(_above(pid, parents))}
            self.seen[word] |= {pid: names[pid] for pid in below}
            at_once += bool(below)
        self.most_at_once = max(self.most_at_once, at_once)


def _processes() -> tuple[dict[int, int], dict[int, str]]:
    """Of everything that runs and is no zombie: pid -> parent, pid -> name."""
    parents, names = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text(errors="replace").rpartition(")")
        except OSError:  # it ended meanwhile
            continue
        state, parent = tail.split()[:2]
        if state != "Z":
            pid, _, name = head.partition(" (")
            parents[int(pid)], names[int(pid)] = int(parent), name
    return parents, names


def _supervises(pid: int, word: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return False
    return word in words and any(one.endswith("supervise.py") for one in words)


def _above(pid: int, parents: dict[int, int]) -> list[int]:
    """Its parent, its parent's parent, and so on."""
    found = []
    while (pid := parents.get(pid, 0)) > 1:
        found.append(pid)
    return found

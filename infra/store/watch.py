"""Who is told of the files of a run folder as they are written: one watcher a folder, or nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Watcher(Protocol):
    """Told on the writer's own thread, right after the change; must be quick and thread-safe."""

    def written(self, name: str) -> None:
        """A file has its name and its final content."""
        ...

    def removed(self, name: str) -> None:
        """A file or a folder is gone."""
        ...


_watchers: dict[Path, Watcher] = {}


@contextmanager
def watched(root: Path, watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of the files below `root` within this context."""
    _watchers[root] = watcher
    try:
        yield
    finally:
        del _watchers[root]


def watcher_of(root: Path) -> Watcher | None:
    """Who watches this very folder."""
    return _watchers.get(root)

"""One process a shard, where several processes or machines write the shards of one run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder, cannot_write

_LOOK_S = 1.0


@contextmanager
def shard_held(folder: Folder, shard: int) -> Iterator[bool]:
    """Write a shard; waits while another process does, so that nobody ever asks beside it.

    Gives whether it had to wait.

    The system lets a lock go when its process dies, on a network file system when its machine's
    lease ends. A node that a cluster has given up but that still writes keeps the lock: whoever
    takes its shard over waits, and then finds the work done.

    Raises InterruptedRunError where the run is asked to stop meanwhile.
    """
    path, lock = _lock_of(folder, shard)
    waited = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            raise_if_stopping()
            try:
                lock.acquire(timeout=_LOOK_S)
                break
            except Timeout:
                waited = True
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield waited
    finally:
        lock.release()


def is_let_go(folder: Folder, shard: int) -> bool:
    """Whether no process holds a shard: who held it has ended, or died."""
    path, lock = _lock_of(folder, shard)
    if not path.exists():
        return True
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise cannot_write(path, error) from error
    lock.release()
    return True


def _lock_of(folder: Folder, shard: int) -> tuple[Path, FileLock]:
    path = folder / f"{layout.LOCKS}/{shard:05d}.lock"
    return path, FileLock(str(path), thread_local=False)


def is_held_elsewhere(folder: Folder) -> bool:
    """Whether this process sees the run's own lock as taken: proof that the folder is the same one
    and that locks reach over the machines that share it."""
    path = folder / layout.LOCK
    if not os.access(path, os.W_OK):
        return False
    lock = FileLock(str(path), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False

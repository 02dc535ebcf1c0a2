"""One writer a run folder: a file lock that dies with its process, and says who holds it."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

import orjson
from filelock import FileLock, Timeout

from arbitrage.errors import RunConflictError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.layout import HOLDER, LOCK


class RunLock:
    """Holds a run folder for writing until `release`, or until the process dies."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = FileLock(str(folder / LOCK), thread_local=False)

    def acquire(self) -> None:
        """Take the lock at once or raise RunConflictError naming the holder."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunConflictError(
                f'the run "{self._folder.root}" is being written by {self._holder()}.',
                mend="Wait for it, stop it, or start another run with --new.",
            ) from None
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC)}
        try:
            self._folder.write_json(HOLDER, holder)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        # Removed while still held: whoever opens the name afterwards locks a new file.
        if self._lock.is_locked:
            self._folder.remove(LOCK, HOLDER)
            self._lock.release()

    def _holder(self) -> str:
        try:
            holder = self._folder.read_json(HOLDER)
        except (OSError, orjson.JSONDecodeError):
            return "another process"
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"

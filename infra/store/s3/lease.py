"""One writer a run: an object that says who, renewed while it lives.

Whether a lease has run out is told by the store's clock alone (how old the object is), so machines
whose clocks differ agree. What it cannot do: on a store whose conditional put is not atomic two
that begin in the same second may both see themselves as the holder for up to `settle_s`; and a
machine that sleeps longer than the lease may finish the call it was in. Both are found at the next
commit, whose entry is another's already or does not follow on it (log.py); neither makes a run look
whole that is not.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from arbitrage.errors import RunConflictError
from arbitrage.infra.store import layout
from arbitrage.infra.store.s3.bucket import Bucket, Read
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.place import S3Place

_NAME = f"{layout.WORK}/lease.json"
_SETTLE_S = 1.0
_LOOK_S = 1.0


class Lease:
    """The right to write a run, for this process.

    Attributes:
        token: names this writer.
    """

    def __init__(
        self, bucket: Bucket, place: S3Place, lease_s: float, *, settle_s: float = _SETTLE_S
    ) -> None:
        self._bucket = bucket
        self._place = place
        self._lease_s = lease_s
        self._settle_s = settle_s
        self._renewed = -float("inf")
        self.token = uuid.uuid4().hex

    def acquire(self) -> None:
        """Take the lease; waits for a holder that may be dead, RunConflictError if it lives."""
        held = self._look()
        seen = held and held.data
        while held is not None and not self._is_over(held):
            if held.data != seen:
                raise self._conflict(held)
            time.sleep(min(_LOOK_S, self._lease_s / 10))
            held = self._look()
        if not self._put(new=held is None):
            raise self._conflict(self._look())
        time.sleep(self._settle_s)
        self.check()

    def renew(self) -> None:
        """Say that this writer lives. RunConflictError where another has taken over."""
        self.check()
        self._put(new=False)

    def check(self) -> None:
        """RunConflictError where the store says that the lease is another's."""
        held = self._look()
        if held is None or orjson.loads(held.data)["token"] != self.token:
            raise self._conflict(held)

    @property
    def held(self) -> bool:
        """Whether nobody else can have taken it, by this machine's own count of seconds."""
        return _seconds() - self._renewed < self._lease_s

    def release(self) -> None:
        """Let go at once, if it is still ours. A lease that cannot be let go runs out."""
        try:
            held = self._look()
            if held is not None and orjson.loads(held.data)["token"] == self.token:
                self._bucket.delete([self._key])
        except StorageError:
            return

    @property
    def _key(self) -> str:
        return self._place.key(_NAME)

    def _look(self) -> Read | None:
        return self._bucket.get(self._key)

    def _put(self, *, new: bool) -> bool:
        began = _seconds()
        holder = {
            "token": self.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "machine": _machine(),
            "renewed_at": datetime.now(UTC).isoformat(),
            "lease_s": self._lease_s,
        }
        if not self._bucket.put(self._key, orjson.dumps(holder), new=new):
            return False
        self._renewed = began
        return True

    def _is_over(self, held: Read) -> bool:
        holder = orjson.loads(held.data)
        if held.age_s > holder["lease_s"]:
            return True
        here = holder["machine"] is not None and holder["machine"] == _machine()
        return here and not _lives(holder["pid"])

    def _conflict(self, held: Read | None) -> RunConflictError:
        holder: dict[str, Any] = orjson.loads(held.data) if held else {}
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another machine"
        return RunConflictError(
            f'the run "{self._place}" is being written by {who}.',
            mend="Wait for it, stop it, or start another run with --new.",
        )


def _seconds() -> float:
    """Seconds that also pass while the machine sleeps, where the system counts those."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _machine() -> str | None:
    """This boot of this machine and its process numbers; None where nothing tells."""
    if not sys.platform.startswith("linux"):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

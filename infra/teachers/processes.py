"""A long-running command of ours: started under a supervisor, its log, and its end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
_SUPERVISOR = Path(__file__).with_name("supervise.py")
STARTED = "== started by arbitrage ==\n"  # a log holds every start of a server


class Supervised:
    """A command in a process group of its own that ends with this process, however this one ends.

    Use `start`. The group is gone once `wait` or `stop` returned.
    """

    def __init__(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        self._process = process
        self._grace_s = grace_s

    @classmethod
    async def start(
        cls, command: Sequence[str], environment: Mapping[str, str], log: Path, grace_s: float
    ) -> Supervised:
        """Run `command`; what it prints is appended to `log`.

        Args:
            grace_s: between SIGTERM and SIGKILL.
        """
        with open(log, "ab") as output:
            output.write(STARTED.encode())
            output.flush()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SUPERVISOR), f"{grace_s:g}", *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is for us; we stop it in our time
            )
        return cls(process, grace_s)

    @property
    def pid(self) -> int:
        """Of the supervisor, the parent of the command."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM to the group, SIGKILL after the grace; returns when nothing of it is left."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), self._grace_s + 30)
        except TimeoutError:  # the supervisor itself hangs; its end kills the command
            self._process.kill()
            await self._process.wait()


def keep_short(log: Path, most_bytes: int) -> None:
    """Begin a log anew once it is longer; its last part stays in a file beside it, with `.1`."""
    if log.stat().st_size <= most_bytes:
        return
    with open(log, "rb") as file:
        file.seek(-min(most_bytes, 1 << 20), os.SEEK_END)
        log.with_name(log.name + ".1").write_bytes(file.read())
    os.truncate(log, 0)  # the command appends, so it goes on at the new end


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port: int = one.getsockname()[1]
        return port


def is_taken(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            return True
    return False

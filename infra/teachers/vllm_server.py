"""One run of a model server: started, waited for, stopped."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.processes import (
    LOOPBACK,
    Supervised,
    free_port,
    is_taken,
)
from arbitrage.infra.teachers.server_log import earlier_errors, last_lines

SHOWN_LINES = 15
_PORTS_TO_TRY = 3
_ADDRESS_IN_USE = ("address already in use", "errno 98]", "errno 48]")

IsReady = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Launch:
    """How one teacher's server is started.

    Attributes:
        command: whole, but for --host and --port.
        port: 0 = a free one at each start.
    """

    teacher: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    startup_timeout_s: float
    stop_grace_s: float
    log: Path

    def shown_log(self, lines: int = SHOWN_LINES) -> str:
        """The last lines of the log, indented, the errors above them, and where the rest is."""
        tail = last_lines(self.log, lines, self.environment) or "(it printed nothing)"
        shown = f"\n{indent(tail, '    ')}"
        if above := earlier_errors(self.log, lines, self.environment):
            shown += (
                f"\n  Errors further up, the first one often the cause:\n{indent(above, '    ')}"
            )
        return f"{shown}\n  Whole log: {self.log}"

    def check(self) -> None:
        """ConfigError where the command is not there or the port is taken."""
        program = self.command[0]
        if shutil.which(program, path=self.environment.get("PATH")) is None:
            raise ConfigError(
                f'the command "{program}" of the teacher "{self.teacher}" is not there, or no '
                "program.",
                mend="Install vLLM, set command to where it is, or set base_url to attach to a "
                "running server.",
            )
        if self.port and is_taken(self.port):
            raise ConfigError(
                f'port {self.port} of the teacher "{self.teacher}" is in use.',
                mend="Stop what listens there, set another port or 0 for a free one, or set "
                f'base_url = "http://{LOOPBACK}:{self.port}/v1" to attach to it.',
            )


class Server:
    """A server that is ready. Use `start_server`."""

    def __init__(self, process: Supervised, address: str) -> None:
        self.process = process
        self.address = address

    @property
    def base_url(self) -> str:
        return f"{self.address}/v1"


async def start_server(launch: Launch, is_ready: IsReady) -> Server:
    """Start it and wait until `is_ready(address)`; nothing of it runs where this raises.

    Raises ConfigError with the last lines of its log where it ends or is not ready in time.
    """
    launch.check()
    for attempt in range(_PORTS_TO_TRY):
        port = launch.port or free_port()
        address = f"http://{LOOPBACK}:{port}"
        command = [*launch.command, "--host", LOOPBACK, "--port", str(port)]
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        size = launch.log.stat().st_size if launch.log.exists() else 0
        process = await Supervised.start(
            command, launch.environment, launch.log, launch.stop_grace_s
        )
        server = Server(process, address)
        try:
            await _wait_until_ready(launch, server, is_ready)
        except _EndedError as ended:
            # Between finding a port free and listening on it somebody else may have taken it.
            if not launch.port and attempt + 1 < _PORTS_TO_TRY and _was_taken(launch.log, size):
                continue
            raise ConfigError(
                f'the server of the teacher "{launch.teacher}" ended with status {ended.status} '
                f"before it was ready. Its last lines:{launch.shown_log()}\n ",
                mend="Mend the teacher's model, command, arguments or environment.",
            ) from None
        except BaseException:
            await asyncio.shield(process.stop())
            raise
        return server
    raise AssertionError("unreachable")


class _EndedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def _wait_until_ready(launch: Launch, server: Server, is_ready: IsReady) -> None:
    ended = asyncio.ensure_future(server.process.wait())
    asking = asyncio.ensure_future(_ask_until_ready(server, is_ready))
    try:
        done, _ = await asyncio.wait(
            {ended, asking},
            timeout=launch.startup_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if ended in done:
            raise _EndedError(ended.result())
        if asking not in done:
            raise ConfigError(
                f'the server of the teacher "{launch.teacher}" was not ready within '
                f"startup_timeout_s = {launch.startup_timeout_s:g}. Its last lines:"
                f"{launch.shown_log()}\n ",
                mend="Raise startup_timeout_s, or mend what it waits for.",
            )
        asking.result()
    finally:
        for task in (ended, asking):
            task.cancel()
        await asyncio.gather(ended, asking, return_exceptions=True)


async def _ask_until_ready(server: Server, is_ready: IsReady) -> None:
    pause_s = 0.1
    while not await is_ready(server.address):
        await asyncio.sleep(pause_s)
        pause_s = min(1.0, 1.5 * pause_s)


def _was_taken(log: Path, since: int) -> bool:
    with open(log, "rb") as file:
        file.seek(since)
        said = file.read().decode("utf-8", "replace").lower()
    return any(words in said for words in _ADDRESS_IN_USE)

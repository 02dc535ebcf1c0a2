"""Background processes of the local stack: started in groups of their own, found again, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.teachers.processes import free_port, is_taken

_ENDS_WITHIN_S = 60.0
# Children of this very process, which have to be waited for; later commands find processes by id.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Background:
    """A process that outlives the command that started it.

    `started` is its start time in the kernel's words: a number that another process with the same
    id, after this one has ended, does not have.
    """

    name: str
    pid: int
    started: str

    def is_alive(self) -> bool:
        return bool(self.started) and start_time(self.pid) == self.started


def start(
    name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path
) -> Background:
    """Start a command in a session of its own, its output in `log`."""
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 (our own commands)
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    _children[process.pid] = process
    return Background(name, process.pid, start_time(process.pid))


def end(process: Background) -> bool:
    """End a process and what it started; False where it was gone already."""
    if not process.is_alive():
        if child := _children.pop(process.pid, None):
            child.wait()
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.1)
    if child := _children.pop(process.pid, None):
        child.wait()
    return True


def start_time(pid: int) -> str:
    """When a process started, as `ps` tells it; empty where there is none, or only its remains.

    In one language and time zone, whatever those of the shell are that asks.
    """
    done = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    )
    state, _, started = done.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def wait_for(
    url: str, process: Background, log: Path, within_s: float, header: str | None = None
) -> None:
    """Until `url` answers 200; an error with the log's end where its process ended before."""
    request = Request(url, headers={"Authorization": header} if header else {})  # noqa: S310

    def answers() -> bool:
        with suppress(URLError, OSError), urlopen(request, timeout=30) as answer:  # noqa: S310
            return bool(answer.status == 200)
        return False

    wait_until(answers, process, log, within_s)


def wait_until(
    is_ready: Callable[[], bool], process: Background, log: Path, within_s: float
) -> None:
    """Until it is ready; an error with the log's end where its process ended or time is up."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.is_alive():
        if is_ready():
            return
        time.sleep(0.2)
    said = log.read_text("utf-8", "replace").strip().splitlines()[-8:]
    happened = f"was not ready within {within_s:.0f} s" if process.is_alive() else "ended at once"
    raise ArbitrageError(
        f"{process.name} {happened}. The end of {log}:\n  " + "\n  ".join(said) + "\n",
        mend="Mend that, then `make down` and `make up`.",
    )


def check_port(port: int, variable: str) -> int:
    """The port, if it is free on loopback; ConfigError with the mend otherwise."""
    if is_taken(port):
        raise ConfigError(
            f"port {port} is taken, or not yours to listen on.",
            mend=f"Free it, or say for example: make up {variable}={port + 1000}",
        )
    return port


def kept_port(file: Path, name: str) -> int:
    """A port for `name`, the one in `file` as long as that is free: a run that a restart broke off
    is continued only while its config, addresses included, stays the same.
    """
    kept: dict[str, int] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if name not in kept or is_taken(kept[name]):
        kept[name] = free_port()
        file.write_text(json.dumps(kept, indent=1), "utf-8")
    return kept[name]

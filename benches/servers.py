"""Server processes that a bench starts and ends itself: Prefect's, and a stand-in teacher."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
_PREFECT_STARTS_WITHIN_S = 120


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A running Prefect server: what a client needs in its environment, and its start-up time."""

    environment: dict[str, str]
    startup_s: float
    group: int
    postmaster: int | None = None

    def cpu_s(self) -> float:
        """CPU seconds that the server's and its PostgreSQL's processes have used so far (Linux)."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                after_name = path.read_text().rpartition(")")[2].split()
                parent, group = int(after_name[1]), int(after_name[2])
                if int(path.parent.name) == self.postmaster:
                    ticks += sum(map(int, after_name[11:15]))  # with ended children
                elif self.group == group or self.postmaster == parent:
                    ticks += sum(map(int, after_name[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def prefect_server(*, postgres: bool = False) -> Iterator[PrefectServer]:
    """`prefect server start` on a free loopback port with a database of its own, SQLite or not."""
    with tempfile.TemporaryDirectory(prefix="bench-prefect-") as home, ExitStack() as ending:
        port = free_port()
        url = f"http://127.0.0.1:{port}/api"
        environment = {
            **os.environ,
            "PREFECT_HOME": home,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "DO_NOT_TRACK": "1",
        }
        environment.pop("PREFECT_API_URL", None)
        postmaster = None
        if postgres:
            from arbitrage.infra.deploy.local.postgres import Postgres

            Path(home).chmod(0o711)  # it may run as another user
            database = Postgres(Path(home, "postgres"))
            database.start()
            ending.callback(shutil.rmtree, database.socket_folder, ignore_errors=True)
            ending.callback(database.stop)
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database.url
            postmaster = int((database.folder / "postmaster.pid").read_text().split()[0])
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        start = time.perf_counter()
        log = Path(home, "server.log")
        process = subprocess.Popen(
            [*command, "--port", str(port), "--no-ui"],
            env=environment,
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(f"{url}/health", process, _PREFECT_STARTS_WITHIN_S)
            startup_s = time.perf_counter() - start
            known = {**environment, "PREFECT_API_URL": url}
            yield PrefectServer(known, startup_s, process.pid, postmaster)
        finally:
            if process.poll() is not None:
                said = log.read_text(errors="replace")[-2000:]
                print(f"Prefect's server ended with {process.returncode}: {said}", file=sys.stderr)
            end_group(process)


def stand_in(latency_ms: float) -> Any:
    """The tests' OpenAI-compatible server, in a thread of the bench, apart from what it kills.

    A context manager; what it gives has `base_url` and `stats`, which counts requests by body.
    """
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from stand_in_behaviour import Behaviour
    from stand_in_server import StandIn

    return StandIn(Behaviour(latency_s=latency_ms / 1000))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads its own group, with everything it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], within_s: float) -> None:
    """Until it answers 200; RuntimeError where its process ended or time is up."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no answer at {url}; exit code {process.poll()}")

"""One client, once: server and client as processes of their own, the watch from the first row."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from job import Job
from processes import Usage, usage_of_session

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Client:
    """A client and how to start it.

    Attributes:
        kind: "own", "flow" or "peer"; which cases it takes part in.
        ours: it imports the product, from this checkout.
        checkpoint: what its Job says.
    """

    name: str
    kind: str
    python: Path
    script: str
    options: tuple[str, ...] = ()
    ours: bool = False
    checkpoint: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One size of work against one kind of server."""

    server: str
    rows: int
    concurrency: int
    arguments: tuple[str, ...]


class FailedRunError(Exception):
    """The client did not finish; the message says why."""


def measure(client: Client, case: Case, prompts: Path, out: Path, limit_s: float) -> dict[str, Any]:
    """Figures of one run, or {"error": ...}. Nothing of it is left running."""
    result: dict[str, Any] = {"client": client.name, "rows": case.rows, "server": case.server}
    result["concurrency"] = case.concurrency
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with _server(case) as base_url:
        job = Job(base_url, str(prompts), case.rows, case.concurrency, str(out), client.checkpoint)
        job_file = out.with_suffix(".json")
        job_file.write_text(json.dumps(asdict(job)))
        try:
            result |= _run(client, job_file, base_url, case.rows, limit_s)
        except FailedRunError as error:
            result["error"] = f"{error} (log: {job_file.with_suffix('.log')})"
        result |= _get(base_url, "/sent", 10)
    return result


@contextlib.contextmanager
def _server(case: Case) -> Iterator[str]:
    command = [sys.executable, str(HERE / "server.py"), *case.arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _run(
    client: Client, job_file: Path, base_url: str, rows: int, limit_s: float
) -> dict[str, Any]:
    reading, writing = os.pipe()
    command = [str(client.python), str(HERE / client.script), str(job_file), *client.options]
    with job_file.with_suffix(".log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
            env=_environment(client) | {"JOB_REPORTS": str(writing)},
            start_new_session=True,
        )
    os.close(writing)
    deadline = started + limit_s
    begun: dict[str, Any] = {}
    watch = threading.Thread(target=_first_row, args=(base_url, process.pid, limit_s, begun))
    watch.start()
    try:
        end = _report(reading, process, deadline)["finished"]
        after = usage_of_session(process.pid)
        watch.join(5)
        if "at" not in begun:
            raise FailedRunError("it finished without sending a row")
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        counted = _report(reading, process, deadline + 60)["rows"]
    finally:
        _end(process)
        os.close(reading)
    if counted != rows:
        raise FailedRunError(f"{counted} of {rows} rows have a text")
    before: Usage = begun["usage"]
    return {
        "start_up_s": begun["at"] - started,
        "seconds": end - begun["at"],
        "rows_per_s": rows / (end - begun["at"]),
        "cpu_s_per_1000": (after.cpu_s - before.cpu_s) * 1000 / rows,
        "peak_mib": after.peak_mib,
        "processes": after.processes,
    }


def _environment(client: Client) -> dict[str, str]:
    """Ours, less what would leak our modules into a peer's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | ({"PYTHONPATH": str(HERE.parents[1] / "src")} if client.ours else {})


def _first_row(base_url: str, leader: int, limit_s: float, begun: dict[str, Any]) -> None:
    """When the first row arrived, and what the client had used by then."""
    with contextlib.suppress(OSError):  # the server ended first: the client sent no row
        at = _get(base_url, "/first", limit_s)
        begun.update(at=at, usage=usage_of_session(leader))


def _get(base_url: str, path: str, timeout_s: float) -> Any:
    address = base_url.removesuffix("/v1") + path
    with urllib.request.urlopen(address, timeout=timeout_s) as answer:
        return json.load(answer)


def _report(reading: int, process: subprocess.Popen[bytes], deadline: float) -> dict[str, float]:
    """The next line the client reports."""
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise FailedRunError("it took too long and was stopped")
        # Polled as well: a child that outlives the client may hold the pipe open.
        if select.select([reading], [], [], min(left, 0.2))[0]:
            part = os.read(reading, 1)
            if not part:
                raise FailedRunError(f"it ended with exit code {process.wait()}")
            line += part
        elif process.poll() is not None:
            raise FailedRunError(f"it ended with exit code {process.returncode}")
    report: dict[str, float] = json.loads(line)
    return report


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it end by itself for a moment, then end its whole session's process group."""
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

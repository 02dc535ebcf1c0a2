"""A Prefect server for one run of the command line, where none is configured.

Prefect would start one by itself, but in the process group of the run: Ctrl-C on a terminal reaches
both, and a run whose server is gone cannot say that it has stopped. This one has a session of its
own, and ends when the run does, however the run ends: it waits for the end of its standard input.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.teachers.processes import free_port
from arbitrage.proxies import ask_this_machine_directly

_STARTED_WITHIN_S = 120.0
_AUTH_VARIABLE = "PREFECT_SERVER_API_AUTH_STRING"
_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")


@contextmanager
def prefect_api(tell: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """A reachable Prefect API: the one the settings name, else a temporary server.

    `tell` is called with a sentence about what takes a while.
    """
    from prefect.settings import (  # noqa: PLC0415 (slow)
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    ask_this_machine_directly(os.environ)
    if PREFECT_API_URL.value():
        tell("asking the Prefect server that PREFECT_API_URL names")
        _check_configured(PREFECT_API_URL.value())
        yield
        return
    tell("starting a Prefect server for this run alone")
    with (
        tempfile.TemporaryFile() as log,
        _server(log) as url,
        # Heartbeats tell a lasting server of a crashed run; this one ends with the run, and waiting
        # for the thread that sends them takes up to a second.
        temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


def _check_configured(url: str) -> None:
    from prefect import get_client  # noqa: PLC0415 (slow)

    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        raise ConfigError(
            f'the Prefect server at PREFECT_API_URL, "{url}", does not answer: {failure}.',
            mend="Start it with `prefect server start`, or unset PREFECT_API_URL.",
        )


def own_environment() -> dict[str, str]:
    """Ours, without the password of another server: it would shut this one's own run out."""
    ours = {key: value for key, value in os.environ.items() if key != _AUTH_VARIABLE}
    return {**ours, "PREFECT_UI_ENABLED": "0"}


@contextmanager
def _server(log: IO[bytes]) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 (our own module)
        [sys.executable, "-m", "arbitrage.flows.server", str(port)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=own_environment(),
        start_new_session=True,
    )
    try:
        _wait_until_healthy(process, port, log)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        raise_if_stopping()
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.1)
    log.seek(0)
    said = log.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    # The last error, without the traceback above it and the advice below it.
    errors = [line for line in said if _ERROR.match(line)]
    raise ArbitrageError(
        f"the temporary Prefect server did not start: {(errors or said)[-1]}.",
        mend="Start one with `prefect server start` and set PREFECT_API_URL.",
    )


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve Prefect's API on the port of the command line until standard input ends."""
    import uvicorn  # noqa: PLC0415 (slow)
    from prefect.server.api.server import create_app  # noqa: PLC0415

    threading.Thread(target=_end_with_parent, daemon=True).start()
    application = create_app(ephemeral=True, final=True)
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()

"""What every test runs under: a Prefect home of its own, no telemetry, nothing beyond loopback."""

from __future__ import annotations

import atexit
import importlib
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# Set before anything imports prefect or datasets, which read them once, at import.
_SCRATCH = tempfile.mkdtemp(prefix="arbitrage-tests-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
    os.environ.pop(name, None)
os.environ |= {
    "PREFECT_HOME": f"{_SCRATCH}/prefect",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
    "HF_HOME": f"{_SCRATCH}/huggingface",
    "HF_HUB_OFFLINE": "1",
}

# A busy machine must not fail a property that holds, nor a lucky draw the change that came with it:
# the same examples every time, others with HYPOTHESIS_PROFILE=explore.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

_attempts: list[str] = []


class BeyondLoopbackError(OSError):
    """A test reached for an address that is not this machine's own."""


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: it sees what every Python socket does, whichever library opened it."""
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        if args[0].family not in (socket.AF_INET, socket.AF_INET6):
            return
        host = args[1][0]
    else:
        return
    if not _is_loopback(host):
        _attempts.append(f"{event} {host!r}")
        raise BeyondLoopbackError(f"{event} to {host!r}: tests talk to loopback only.")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _nothing_beyond_loopback() -> Iterator[None]:
    """Fails the test also where the code under test swallowed the refusal."""
    _attempts.clear()
    yield
    assert not _attempts, f"reached beyond loopback: {_attempts}"


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect API with an empty database, started by the first test that asks for it."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def api_url(prefect_server: None) -> str:
    """Address of the session's Prefect API, for child processes."""
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


# Imported when a test asks, and not while tests are collected: they import much of the package.


@pytest.fixture(scope="session")
def run_configs() -> ModuleType:
    """tests/run_configs.py."""
    return importlib.import_module("run_configs")


@pytest.fixture(scope="session")
def stand_in() -> ModuleType:
    """tests/stand_in_server.py."""
    return importlib.import_module("stand_in_server")

"""The guard rails of the test suite hold."""

from __future__ import annotations

import os
import socket

import pytest


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> list[str]:
    """The record of refused attempts, kept from failing this test."""
    plugins = pytestconfig.pluginmanager.get_plugins()
    guard = next(plugin for plugin in plugins if hasattr(plugin, "BeyondLoopbackError"))
    attempts: list[str] = []
    monkeypatch.setattr(guard, "_attempts", attempts)
    return attempts


def test_a_name_beyond_loopback_is_not_looked_up(refused: list[str]) -> None:
    with pytest.raises(OSError, match="loopback only"):
        socket.getaddrinfo("example.invalid", 80)
    assert refused == ["socket.getaddrinfo 'example.invalid'"]


def test_an_address_beyond_loopback_is_not_connected_to(refused: list[str]) -> None:
    with socket.socket() as client, pytest.raises(OSError, match="loopback only"):
        client.connect(("192.0.2.1", 9))
    assert refused == ["socket.connect '192.0.2.1'"]


def test_loopback_is_open(refused: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            pass
        assert socket.getaddrinfo("localhost", 80)
    assert refused == []


def test_prefect_writes_to_a_folder_of_the_test_run() -> None:
    assert "arbitrage-tests-" in os.environ["PREFECT_HOME"]

"""The temporary Prefect server of a command line run."""

from __future__ import annotations

import pytest

from arbitrage.flows.server import own_environment


def test_it_does_not_take_over_the_password_of_another_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would answer the run that started it with 401.
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:x")
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    found = own_environment()
    assert "PREFECT_SERVER_API_AUTH_STRING" not in found
    assert found["PREFECT_HOME"] == "/elsewhere"

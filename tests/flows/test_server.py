"""The temporary Prefect server of a command line run."""

from __future__ import annotations

import pytest

from arbitrage.flows.server import own_environment, prefect_api


def test_it_does_not_take_over_the_password_of_another_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would answer the run that started it with 401.
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:x")
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    found = own_environment()
    assert "PREFECT_SERVER_API_AUTH_STRING" not in found
    assert found["PREFECT_HOME"] == "/elsewhere"


def test_it_is_reached_where_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    # What urlopen once made of the environment it keeps, also for the tests after this one.
    monkeypatch.setattr("urllib.request._opener", None)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with (
        temporary_settings({PREFECT_API_URL: None}),
        prefect_api(),
        get_client(sync_client=True) as client,
    ):
        assert client.api_healthcheck() is None

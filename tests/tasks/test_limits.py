"""Teachers' slots while Prefect's server is away: finished work is not done again for them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from arbitrage.tasks import limits
from arbitrage.tasks.away import server_may_be_away


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1/api")
    return httpx.HTTPStatusError("said no", request=request, response=httpx.Response(status))


@pytest.fixture
def giving_back(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What giving slots back raises; taking them works."""
    raised: list[Exception] = []

    @contextmanager
    def slots(names: list[str], **_: Any) -> Iterator[None]:
        try:
            yield
        finally:
            for error in raised:
                raise error

    monkeypatch.setattr(limits, "concurrency", slots)
    monkeypatch.setattr(limits, "known_limits", lambda run: {limits.limit_name("a")})
    return raised


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), answered(500), answered(503)])
def test_a_server_that_is_away_costs_no_finished_shard(
    giving_back: list[Exception], error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    giving_back.append(error)
    with caplog.at_level(logging.WARNING), limits.teacher_slots(["a"], "run"):
        pass
    assert "slots" in caplog.text


def test_what_the_shard_itself_raised_is_raised(giving_back: list[Exception]) -> None:
    giving_back.append(httpx.ConnectError("refused"))
    with pytest.raises(ZeroDivisionError), limits.teacher_slots(["a"], "run"):
        _ = 1 / 0


def test_a_server_that_refuses_is_not_away() -> None:
    with pytest.raises(httpx.HTTPStatusError), server_may_be_away("anything"):
        raise answered(401)


def test_a_limit_is_known_however_many_others_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*(f"other-{number}" for number in range(399)), limits.limit_name("a")]
    known = [SimpleNamespace(name=name, active=True) for name in names]

    class Client:
        def read_global_concurrency_limits(self, limit: int, offset: int = 0) -> list[Any]:
            assert limit <= 200  # what the server takes
            return known[offset : offset + limit]

    monkeypatch.setattr(limits, "get_client", lambda **_: nullcontext(Client()))
    limits.known_limits.cache_clear()
    try:
        assert limits.limit_name("a") in limits.known_limits("a run")
    finally:
        limits.known_limits.cache_clear()

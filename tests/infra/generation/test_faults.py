"""Every fault of a server ends in a reasoned result, in bounded time, with counts that add up."""

from __future__ import annotations

import threading
import time

import pytest

from arbitrage.infra.generation.death import AllTeachersDeadError
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.teachers.breaker import BreakerPolicy
from arbitrage.infra.teachers.pacing import RetryPolicy

QUICK = RetryPolicy(base_s=0.01, cap_s=0.02)
# What one request does is tested with it; endpoints that are down, in test_deaths.py too.
NEVER_OPENS = BreakerPolicy(failures=10**9)
RETRIES = 2
REQUESTS = 6

# mode -> (reason, requests the server sees for each, which of 2 samples succeed)
FAULTS = {
    "rate_limit": ("generate.rate_limited", 1 + RETRIES, 0),
    "rate_limit, Retry-After": ("generate.rate_limited", 1 + RETRIES, 0),
    "server_error": ("generate.server_error", 1 + RETRIES, 0),
    "hang": ("generate.timeout", 1 + RETRIES, 0),
    "drip": ("generate.timeout", 1 + RETRIES, 0),
    "reset": ("generate.connection", 1 + RETRIES, 0),
    "malformed": ("generate.malformed_response", 1 + RETRIES, 0),
    "wrong_content_type": ("generate.wrong_content_type", 1 + RETRIES, 0),
    "empty_choices": ("generate.empty_choices", 1 + RETRIES, 0),
    "fewer_choices": ("generate.fewer_choices", 1, 1),
    "huge": ("generate.response_too_large", 1, 0),
    "too_long": ("generate.prompt_too_long", 1, 0),
    "null_content": ("generate.no_text", 1, 1),
    "nan_logprobs": (None, 1, 2),
    "wrong_model": (None, 1, 2),
    "surrogates": (None, 1, 2),
    "think": (None, 1, 2),
    "reasoning": (None, 1, 2),
}


def _timeout_s(mode):
    """Short where a test has to wait for it; else a busy machine must not run into it."""
    return 1.0 if mode in {"hang", "drip"} else 60.0


def _run(stand_in, config, collected, requests, **more):
    with TeacherPool([config], policy=QUICK, breaker=NEVER_OPENS) as pool:
        return pool.complete(requests, collected, threading.Event(), **more)


@pytest.mark.parametrize("mode", FAULTS)
def test_a_faulty_server_gives_reasons_and_never_hangs(
    mode, stand_in, openai_teacher, requests_for, collected
):
    reason, sent, good = FAULTS[mode]
    name, _, pauses = mode.partition(", ")
    behaviour = stand_in.Behaviour(
        mode=name, huge_bytes=1 << 22, retry_after="0.1" if pauses else None
    )
    with stand_in.StandIn(behaviour) as server:
        config = openai_teacher(
            server.base_url,
            timeout_s=_timeout_s(name),
            max_retries=RETRIES,
            max_response_bytes=1 << 20,
        )
        requests = [requests_for(i, samples=2) for i in range(REQUESTS)]
        counts = _run(stand_in, config, collected, requests)
        assert server.stats.requests == counts.sent == REQUESTS * sent
        assert counts.retries == REQUESTS * (sent - 1)
    assert counts.requested == 2 * REQUESTS == counts.succeeded + counts.failed
    assert (
        counts.succeeded
        == good * REQUESTS
        == sum(c.error is None for c in collected.by_id.values())
    )
    assert set(counts.reasons) == ({("t", reason)} if reason else set())
    assert len(collected.by_id) == 2 * REQUESTS
    for completion in collected.by_id.values():
        assert (completion.text is None) == (completion.error is not None)
        assert completion.sum_logprob is None  # NaN is no number


@pytest.mark.parametrize("mode", ["rate_limit", "server_error", "hang", "reset", "malformed"])
def test_a_fault_that_passes_costs_only_retries(
    mode, stand_in, openai_teacher, requests_for, collected
):
    behaviour = stand_in.Behaviour(mode=mode, first_of_each=2)
    with stand_in.StandIn(behaviour) as server:
        # The third try of each is answered, for which 3 s are enough on a busy machine too.
        timeout_s = 3.0 if mode == "hang" else _timeout_s(mode)
        config = openai_teacher(
            server.base_url, timeout_s=timeout_s, max_retries=3, max_concurrency=8
        )
        counts = _run(stand_in, config, collected, [requests_for(i) for i in range(8)])
        assert (counts.succeeded, counts.failed, counts.retries) == (8, 0, 16)
        assert set(server.stats.bodies.values()) == {3}
        assert server.stats.peak <= 8


def test_every_mode_of_the_server_has_its_row(stand_in):
    tested = {mode.partition(", ")[0] for mode in FAULTS}
    # A key refused: below. A key repeated: tests/flows/test_planted_secrets.py.
    assert tested == set(stand_in.MODES) - {"none", "unauthorized", "parrot"}


def test_a_burst_of_500s_is_waited_out_and_fails_nothing(
    stand_in, openai_teacher, requests_for, collected
):
    """More of them in a row than open the breaker: probes go on until one is answered."""
    with stand_in.StandIn(stand_in.Behaviour(mode="server_error", first=15)) as server:
        config = openai_teacher(server.base_url, max_concurrency=8, max_retries=1, dead_after_s=120)
        breaker = BreakerPolicy(failures=10, probe_s=0.05, cap_s=0.5)
        with TeacherPool([config], policy=QUICK, breaker=breaker) as pool:
            requests = [requests_for(i) for i in range(40)]
            counts = pool.complete(requests, collected, threading.Event())
        assert server.stats.requests == counts.sent
    assert counts.requested == counts.succeeded + counts.failed == 40 == len(collected.by_id)
    # One request may meet two of the 500s before the breaker opens; then none fails any more.
    assert counts.failed <= 15 // 2


def test_a_burst_that_stays_below_the_retries_fails_nothing(
    stand_in, openai_teacher, requests_for, collected
):
    with stand_in.StandIn(stand_in.Behaviour(mode="server_error", first=8)) as server:
        config = openai_teacher(server.base_url, max_concurrency=8, max_retries=8)
        counts = _run(stand_in, config, collected, [requests_for(i) for i in range(40)])
        assert (counts.succeeded, counts.failed, counts.retries) == (40, 0, 8)
        assert server.stats.requests == 48


def test_another_model_than_asked_fails_where_the_config_is_strict(
    stand_in, openai_teacher, requests_for, collected
):
    with stand_in.StandIn(stand_in.Behaviour(mode="wrong_model")) as server:
        config = openai_teacher(server.base_url, strict_model=True)
        counts = _run(stand_in, config, collected, [requests_for(i) for i in range(5)])
    assert counts.reasons == {("t", "generate.wrong_model"): 5}
    assert all("another-model" in completion.detail for completion in collected.by_id.values())


def test_retry_after_pauses_the_whole_teacher(stand_in, openai_teacher, requests_for, collected):
    behaviour = stand_in.Behaviour(mode="rate_limit", first=1, retry_after="0.5")
    with stand_in.StandIn(behaviour) as server:
        config = openai_teacher(server.base_url, max_concurrency=1)
        started = time.monotonic()
        counts = _run(stand_in, config, collected, [requests_for(i) for i in range(5)])
        assert time.monotonic() - started >= 0.5
        assert (counts.succeeded, counts.sent) == (5, 6)


def test_no_server_at_all_is_a_dead_teacher_whose_requests_are_not_spent(
    openai_teacher, requests_for, collected
):
    config = openai_teacher("http://127.0.0.1:9/v1", max_retries=1, dead_after_s=0.2)
    with pytest.raises(AllTeachersDeadError, match=r"generate\.connection"):
        _run(None, config, collected, [requests_for(i) for i in range(3)])
    assert not collected.by_id


def test_the_key_is_sent_and_never_shown(  # noqa: PLR0917
    stand_in, openai_teacher, requests_for, collected, monkeypatch, caplog
):
    monkeypatch.setenv("STAND_IN_KEY", "sk-very-secret")
    with stand_in.StandIn(stand_in.Behaviour(mode="unauthorized")) as server:
        config = openai_teacher(server.base_url, api_key_env="STAND_IN_KEY", dead_after_s=1)
        with TeacherPool([config]) as pool:
            with pytest.raises(AllTeachersDeadError, match="http_401") as caught:
                pool.complete([requests_for(i) for i in range(99)], collected, threading.Event())
            checked = pool.check()["t"]
        assert server.stats.requests <= 32 + 2  # those in flight and two probes, not all 99
    assert not collected.by_id
    (death,) = caught.value.deaths
    assert "Bearer [key]" in death.reason
    shown = f"{caught.value!r} {caught.value} {checked} {checked!r} {config!r} {caplog.text}"
    assert "very-secret" not in shown

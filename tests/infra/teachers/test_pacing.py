from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.breaker import BreakerPolicy
from arbitrage.infra.teachers.pacing import Pacer, RetryPolicy, retry_after_s


@given(
    attempt=st.integers(1, 10_000),
    uniform=st.floats(0, 1, exclude_max=True),
    after=st.none() | st.floats(0, 1e9),
)
def test_a_pause_is_never_negative_and_never_beyond_its_cap(attempt, uniform, after):
    policy = RetryPolicy(base_s=0.5, cap_s=30, max_retry_after_s=300)
    delay = policy.delay_s(attempt, after, uniform)
    assert 0 <= delay <= (30 if after is None else 300.5)
    if after is not None:
        assert delay >= min(after, 300)


def test_the_upper_bound_doubles():
    bounds = [RetryPolicy(base_s=1, cap_s=5).delay_s(n, None, 1.0) for n in range(1, 6)]
    assert bounds == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After": "Sat, 21 Nov 2026 00:00:09 GMT"}, 9.0),
        ({"Retry-After": "Fri, 20 Nov 2026 00:00:09 GMT"}, 0.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "later, please"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    assert retry_after_s(headers, datetime(2026, 11, 21, tzinfo=UTC)) == seconds


def test_the_pacer_counts_slots_and_keeps_the_longer_pause():
    pacer = Pacer(2)
    pacer.started(0)
    pacer.started(0)
    assert pacer.free(0) == 0
    pacer.ended()
    assert pacer.free(0) == 1
    pacer.pause(0, 10)
    pacer.pause(0, 1)
    assert (pacer.free(5), pacer.wait_s(5), pacer.free(10)) == (0, 5, 1)


def _error(reason: str = "generate.connection", status: int | None = None) -> TeacherError:
    return TeacherError(reason, "x", transient=status != 401, status=status)


def _fail(pacer: Pacer, now: float, error: TeacherError, sent_at: float = 0.0) -> bool:
    probe = pacer.started(sent_at)
    laid_to_it = pacer.failed(now, error, sent_at, probe=probe)
    pacer.ended()
    return laid_to_it


def test_a_refused_key_opens_at_once_where_nothing_ever_worked():
    pacer = Pacer(64)
    assert _fail(pacer, 1.0, _error("generate.http_401", 401))
    assert pacer.free(1.0) == 0


def test_where_nothing_listens_one_refused_connection_opens_though_it_worked_before():
    pacer = Pacer(64)
    pacer.started(0.0)
    pacer.answered(0.5)
    pacer.ended()
    gone = TeacherError("generate.connection", "x", transient=True, unreachable=True)
    assert _fail(pacer, 1.0, gone)
    assert pacer.free(1.0) == 0


def test_one_broken_connection_does_not_open():
    pacer = Pacer(64)
    assert not _fail(pacer, 1.0, _error())
    assert pacer.free(1.0) == 64


def test_one_refusal_after_answers_is_its_requests_own():
    pacer = Pacer(64)
    pacer.started(0.0)
    pacer.answered(0.5)
    pacer.ended()
    assert not _fail(pacer, 1.0, _error("generate.http_403", 403))
    assert pacer.free(1.0) == 64


def test_what_lies_with_the_request_is_an_answer():
    pacer = Pacer(4, breaker=BreakerPolicy(failures=2))
    for _ in range(9):
        assert not _fail(pacer, 1.0, TeacherError("generate.prompt_too_long", "x", status=400))
    assert pacer.free(1.0) == 4


@pytest.mark.parametrize("status", [429, 503])
def test_signs_of_overload_lower_the_limit_once_a_round_trip(status):
    pacer = Pacer(10)
    for _ in range(5):
        _fail(pacer, 1.0, _error("generate.x", status))
    assert pacer.limit.value == 7


def test_refusals_without_end_are_a_stall_though_the_server_talks():
    pacer = Pacer(10, stall_s=5.0)
    for second in range(6):
        _fail(pacer, second + 0.5, _error("generate.rate_limited", 429), float(second))
        assert not pacer.stalled(second + 0.5) or second == 5
    assert pacer.stalled(5.5)
    pacer.trip(5.5)
    assert not pacer.stalled(5.5)
    assert pacer.free(5.6) == 0


def test_an_answer_or_an_idle_time_ends_what_was_unanswered():
    pacer = Pacer(10, stall_s=5.0)
    pacer.started(0.0)
    pacer.started(0.0)
    pacer.answered(4.0)
    pacer.ended()
    assert not pacer.stalled(8.0)
    assert pacer.stalled(9.5)
    pacer.ended()
    pacer.idle_ended()
    pacer.started(100.0)
    assert not pacer.stalled(101.0)


def test_dead_needs_a_failed_probe_and_none_under_way():
    pacer = Pacer(4, breaker=BreakerPolicy(failures=1, probe_s=1.0))
    _fail(pacer, 0.0, _error())
    assert not pacer.dead(60.0, after_s=10.0)
    assert pacer.started(60.0)  # a probe
    assert not pacer.dead(61.0, after_s=10.0)
    pacer.failed(61.0, _error(), 60.0, probe=True)
    pacer.ended()
    assert pacer.dead(61.0, after_s=10.0)
    assert not pacer.dead(61.0, after_s=70.0)


def test_a_server_that_asks_for_a_pause_is_waited_for_some_times():
    pacer = Pacer(4, breaker=BreakerPolicy(failures=1, probe_s=1.0))
    _fail(pacer, 0.0, _error("generate.server_error", 503))
    now = 0.0
    for probes in range(1, 4):
        now += 50.0
        _fail(pacer, now, _error("generate.server_error", 503), now)
        pacer.pause(now, 40.0)
        assert pacer.dead(now + 1, after_s=10.0) == (probes == 3)

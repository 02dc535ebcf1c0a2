from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.teachers.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failures=3, probe_s=1.0, cap_s=5.0)


def _open(at: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    breaker.failed(at, at_once=True)
    return breaker


def test_only_consecutive_failures_open_it():
    breaker = Breaker(POLICY)
    for _ in range(10):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.closed
    for _ in range(3):
        breaker.failed(0.0)
    assert not breaker.closed
    assert not breaker.allows(0.9)


def test_one_probe_at_a_time_and_none_before_its_pause():
    breaker = _open()
    assert breaker.wait_s(0.25) == 0.75
    assert breaker.allows(1.0)
    breaker.probe_started()
    assert not breaker.allows(99.0)
    assert breaker.wait_s(99.0) is None


def test_pauses_grow_to_the_cap_and_a_success_forgets_them():
    breaker, now, pauses = _open(), 0.0, []
    for _ in range(4):
        pauses.append(breaker.wait_s(now))
        now += pauses[-1]
        breaker.probe_started()
        breaker.probe_failed(now)
    assert pauses == [1.0, 2.0, 4.0, 5.0]
    breaker.succeeded()
    breaker.failed(now, at_once=True)
    assert breaker.wait_s(now) == 1.0


def test_failures_of_what_was_sent_before_it_opened_change_nothing():
    breaker = _open()
    for _ in range(100):
        breaker.failed(0.5)
    assert breaker.wait_s(0.5) == 0.5
    assert breaker.open_s(7.0) == 7.0


def test_a_withdrawn_probe_makes_room_for_another():
    breaker = _open()
    breaker.probe_started()
    breaker.probe_cancelled()
    assert breaker.allows(1.0)


@given(st.lists(st.sampled_from(["fail", "succeed", "wait"]), max_size=80))
def test_an_open_breaker_lets_nothing_through_but_probes(events):
    breaker, now = Breaker(POLICY), 0.0
    sent_while_open = 0
    for event in events:
        if event == "wait":
            now += 1.0
        elif breaker.allows(now):
            probe = not breaker.closed
            if probe:
                breaker.probe_started()
                sent_while_open += 1
            if event == "succeed":
                breaker.succeeded()
            elif probe:
                breaker.probe_failed(now)
            else:
                breaker.failed(now)
    assert sent_while_open <= now  # the shortest pause is a second

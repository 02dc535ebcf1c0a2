from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.teachers.concurrency import AdaptiveLimit


def test_it_starts_at_the_most_unless_told_otherwise():
    assert AdaptiveLimit(256).value == 256
    assert AdaptiveLimit(256, 4).value == 4
    assert AdaptiveLimit(8, 99).value == 8


def test_one_burst_of_refusals_counts_once_and_the_next_round_trip_again():
    limit = AdaptiveLimit(100)
    for _ in range(100):
        limit.overloaded(now=1.0, sent_at=0.0)
    assert limit.value == 70
    limit.overloaded(now=2.0, sent_at=1.5)
    assert limit.value == 49


def test_it_never_falls_below_one_and_comes_back_in_some_windows():
    limit = AdaptiveLimit(64)
    for second in range(1, 50):
        limit.overloaded(now=second, sent_at=second - 0.5)
    assert limit.value == 1
    answers = 0
    while limit.value < 64:
        limit.succeeded()
        answers += 1
    assert answers < 64 * 40


def test_a_window_of_successes_raises_it_by_one_step():
    limit = AdaptiveLimit(10, 4)
    for _ in range(3):
        limit.succeeded()
    assert limit.value == 4
    limit.succeeded()
    assert limit.value == 5


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 500))
def test_it_stays_between_one_and_the_most(events, most):
    limit = AdaptiveLimit(most)
    for now, good in enumerate(events):
        if good:
            limit.succeeded()
        else:
            limit.overloaded(now=float(now), sent_at=now - 0.5)
        assert 1 <= limit.value <= most

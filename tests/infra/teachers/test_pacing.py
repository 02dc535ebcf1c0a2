from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    pacer.started()
    pacer.started()
    assert pacer.free(0) == 0
    pacer.finished()
    assert pacer.free(0) == 1
    pacer.pause(0, 10)
    pacer.pause(0, 1)
    assert (pacer.free(5), pacer.wait_s(5), pacer.free(10)) == (0, 5, 1)

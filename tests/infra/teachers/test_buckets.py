from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.infra.teachers.base import Completion, Request, Sample
from arbitrage.infra.teachers.buckets import Bucket, RateLimits, RetryBudget, minute_bucket


def _request(text: str, samples: int = 1) -> Request:
    wanted = tuple(Sample(j, f"c{j}", j) for j in range(samples))
    return Request("p", "th", "t", (("user", text),), wanted)


def _sent(bucket: Bucket, seconds: float, gaps: list[float]) -> list[float]:
    """When requests go that always come as soon as they may, after some gaps."""
    now, times = 0.0, []
    gaps = [*gaps]
    while now < seconds and len(times) < 5000:
        wait_s = bucket.wait_s(now)
        if wait_s > 0:
            now += wait_s
            continue
        bucket.take()
        times.append(now)
        if gaps:
            now += gaps.pop()
    return times


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 900), st.lists(st.floats(0, 90), max_size=4))
def test_no_minute_has_more_than_the_limit(per_minute, gaps):
    times = _sent(minute_bucket(per_minute), 130.0 + sum(gaps), gaps)
    for first, start in enumerate(times):
        inside = sum(1 for time in times[first:] if time < start + 60 - 1e-6)
        assert inside <= math.ceil(per_minute)


def test_the_limit_is_nearly_used():
    assert len(_sent(minute_bucket(600), 60.0, [])) >= 0.97 * 600
    assert len(_sent(minute_bucket(3), 60.0, [])) == 3


def test_what_costs_more_than_the_bucket_holds_leaves_a_debt():
    bucket = Bucket(per_s=10, most=10)
    assert bucket.wait_s(0.0, 100) == 0
    bucket.take(100)
    assert bucket.wait_s(0.0, 1) == pytest.approx(9.1)
    assert bucket.wait_s(0.0, 100) == pytest.approx(10.0)


def test_tokens_are_reserved_for_prompt_and_all_samples_then_corrected():
    limits = RateLimits(None, 60_000, max_tokens=100)
    reserved = limits.reservation(_request("ก" * 400, samples=3))
    assert reserved == 4 + 1200 / 4 + 300
    limits.take(reserved)
    before = limits.wait_s(0.0, 1000)
    limits.correct(
        reserved,
        [Completion(j, "x", prompt_tokens=90, completion_tokens=10) for j in range(3)],
    )
    assert limits.wait_s(0.0, 1000) == pytest.approx(before - (reserved - 120) / (59_001 / 60))


def test_an_answer_without_usage_keeps_what_was_reserved():
    limits = RateLimits(None, 600, max_tokens=100)
    limits.take(50)
    before = limits.wait_s(0.0, 10)
    limits.correct(50, [Completion(0, "x")])
    assert limits.wait_s(0.0, 10) == before


def test_the_mean_answer_is_reserved_where_max_tokens_is_not_set():
    limits = RateLimits(None, 600_000, max_tokens=None)
    first = limits.reservation(_request("a"))
    for _ in range(200):
        limits.correct(0, [Completion(0, "x", prompt_tokens=1, completion_tokens=20)])
    assert limits.reservation(_request("a")) == pytest.approx(first - 236, abs=1)


def test_without_limits_nothing_waits():
    limits = RateLimits(None, None, None)
    assert limits.unlimited
    assert limits.wait_s(0.0, limits.reservation(_request("a"))) == 0


@given(st.lists(st.sampled_from(["request", "retry", "wait"]), max_size=400), st.integers(1, 300))
def test_retries_never_pass_the_share_plus_the_floor(events, concurrency):
    budget, now, requests, retries = RetryBudget(concurrency), 0.0, 0, 0
    for event in events:
        if event == "request":
            budget.requested()
            requests += 1
        elif event == "wait":
            now += 0.1
        elif budget.wait_s(now) <= 0:
            budget.retried()
            retries += 1
    floor = max(10.0, concurrency / 4)
    assert retries <= budget.most + 0.1 * requests + floor * now + 1e-6

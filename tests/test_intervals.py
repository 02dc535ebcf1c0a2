"""How sure a mean is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.intervals import (
    bootstrap_means,
    linear_errors,
    normal_interval,
    percentile_interval,
    wilson_interval,
)


def test_wilson_at_the_ends_and_in_the_middle() -> None:
    # At 0 of n the upper bound is z^2 / (n + z^2), at n of n the lower one n / (n + z^2).
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0.5, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson_interval(1.0, 9) == pytest.approx((0.7009, 1.0), abs=1e-4)


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_wilson_holds_the_share_inside_zero_to_one(share: float, trials: int) -> None:
    low, high = wilson_interval(share, trials)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


def test_the_bootstrap_draws_whole_prompts() -> None:
    """Ten prompts with a hundred equal samples each are ten observations, not a thousand."""
    values = np.array([0.0, 1.0] * 5)
    alone = bootstrap_means(values[:, None], np.ones((10, 1)), seed=1)[:, 0]
    many = bootstrap_means(100 * values[:, None], np.full((10, 1), 100.0), seed=1)[:, 0]
    assert np.allclose(alone, many)
    low, high = percentile_interval(alone)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(10), rel=0.25)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    hits = 0
    for trial in range(200):
        values = generator.exponential(1.0, 60)
        means = bootstrap_means(values[:, None], np.ones((60, 1)), seed=trial, resamples=400)
        low, high = percentile_interval(means[:, 0])
        hits += low <= 1.0 <= high
    assert 0.86 <= hits / 200 <= 0.99


def test_the_same_seed_draws_the_same_prompts_for_every_column() -> None:
    sums, counts = np.arange(12.0).reshape(6, 2), np.ones((6, 2))
    both = bootstrap_means(sums, counts, seed=3, resamples=50)
    assert np.allclose(both[:, 1] - both[:, 0], 1.0)
    assert np.array_equal(both, bootstrap_means(sums, counts, seed=3, resamples=50))


def test_nothing_measured_has_no_interval() -> None:
    means = bootstrap_means(np.zeros((3, 1)), np.zeros((3, 1)), seed=0, resamples=10)
    assert all(math.isnan(bound) for bound in percentile_interval(means[:, 0]))


def test_blocks_of_resamples_are_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbitrage.intervals._WEIGHTS_AT_ONCE", 10)
    assert len(bootstrap_means(np.ones((4, 1)), np.ones((4, 1)), seed=0, resamples=7)) == 7


def test_the_linearised_interval_agrees_with_the_bootstrap_where_prompts_are_many() -> None:
    generator = np.random.default_rng(5)
    counts = generator.integers(1, 5, (500, 1)).astype(float)
    sums = counts * generator.exponential(3.0, (500, 1))
    mean = float(sums.sum() / counts.sum())
    linear = normal_interval(mean, linear_errors(sums, counts)[:, 0])
    drawn = percentile_interval(bootstrap_means(sums, counts, seed=1)[:, 0])
    width = drawn[1] - drawn[0]
    assert linear == pytest.approx(drawn, abs=0.12 * width)

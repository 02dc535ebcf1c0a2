from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.routers.sampling import inclusion_probabilities, row_keys, systematic_sample

weights = st.lists(
    st.just(0.0) | st.floats(1e-6, 1) | st.sampled_from([1e-12, 0.5, 1.0]), min_size=1, max_size=12
).filter(lambda row: sum(row) > 0)


def shares_of(row: list[float]) -> Any:
    return np.array([row]) / sum(row)


@given(weights, st.integers(1, 14))
def test_inclusion_sums_to_the_size_and_keeps_the_proportions(row: list[float], size: int) -> None:
    shares = shares_of(row)
    pi = inclusion_probabilities(shares, size)
    assert pi.sum() == pytest.approx(min(size, (shares > 0).sum()))
    assert ((pi >= 0) & (pi <= 1)).all()
    assert (pi[shares == 0] == 0).all()
    free = (pi < 1) & (shares > 0)
    if free.any():
        ratios = pi[free] / shares[free]
        assert ratios == pytest.approx(np.full(ratios.shape, ratios[0]))
        # c * p >= 1 is exactly what makes a teacher certain.
        assert (ratios[0] * shares[pi == 1] >= 1 - 1e-9).all()


@given(weights)
def test_one_draw_is_the_routers_own_probability(row: list[float]) -> None:
    shares = shares_of(row)
    assert (inclusion_probabilities(shares, 1) == shares).all()


@given(weights, st.integers(1, 14), st.floats(0, 1, exclude_max=True), st.integers(0, 2**52))
def test_a_draw_has_its_exact_size_and_only_possible_teachers(
    row: list[float], size: int, start: float, seed: int
) -> None:
    shares = shares_of(row)
    pi = inclusion_probabilities(shares, size)
    keys = row_keys(np.array([seed], np.uint64), shares.shape[1])
    drawn = systematic_sample(pi, np.array([start]), keys)
    assert drawn.sum() == min(size, (shares > 0).sum())
    assert not drawn[shares == 0].any()
    assert drawn[pi == 1].all()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_teachers_are_drawn_as_often_as_their_inclusion_probability_says(size: int) -> None:
    count = 40_000
    rng = np.random.default_rng(7)
    shares = np.tile([[0.5, 0.25, 0.15, 0.1, 0.0]], (count, 1))
    pi = inclusion_probabilities(shares, size)
    keys = row_keys(rng.integers(0, 2**52, count).astype(np.uint64), 5)
    drawn = systematic_sample(pi, rng.random(count), keys)
    # Five standard errors of a share.
    error = 5 * np.sqrt(pi[0] * (1 - pi[0]) / count) + 1e-12
    assert (np.abs(drawn.mean(axis=0) - pi[0]) <= error).all()


def test_every_pair_of_teachers_can_be_drawn_together() -> None:
    count = 2_000
    rng = np.random.default_rng(3)
    pi = inclusion_probabilities(np.full((count, 4), 0.25), 2)
    keys = row_keys(rng.integers(0, 2**52, count).astype(np.uint64), 4)
    drawn = systematic_sample(pi, rng.random(count), keys).astype(int)
    together = drawn.T @ drawn
    assert together[~np.eye(4, dtype=bool)].min() > 0.8 * count / 6


def test_keys_differ_by_row_and_column() -> None:
    keys = row_keys(np.arange(1000, dtype=np.uint64), 50)
    assert len(np.unique(keys)) == 50_000

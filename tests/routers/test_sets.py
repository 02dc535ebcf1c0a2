"""Sets of teachers for several samples: as good as trying every set, where that can be tried."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.routers.sets import DRAWS, best_sets, error_covariance


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 6))
def test_a_set_has_its_size_holds_the_best_teacher_and_nobody_who_may_not_be_asked(
    seed: int, size: int
) -> None:
    random = np.random.default_rng(seed)
    expected = random.normal(size=(7, 5))
    expected[random.random((7, 5)) < 0.3] = -np.inf
    chosen = best_sets(expected, np.eye(5), size, np.zeros(5))
    able = np.isfinite(expected)
    assert (chosen.sum(axis=1) == np.minimum(size, able.sum(axis=1))).all()
    assert not (chosen & ~able).any()
    some = able.any(axis=1)
    assert chosen[some, expected[some].argmax(axis=1)].all()


def test_greedy_sets_are_nearly_the_best_there_are() -> None:
    random = np.random.default_rng(1)
    mixing = random.normal(size=(5, 5))
    noise = mixing @ mixing.T / 5
    errors = random.multivariate_normal(np.zeros(5), noise, 20_000)
    for expected in random.normal(size=(5, 5)):
        chosen = best_sets(expected[None], noise, 3, np.zeros(5))[0]
        worth = {
            three: (expected + errors)[:, three].max(axis=1).mean()
            for three in combinations(range(5), 3)
        }
        mine = worth[tuple(np.flatnonzero(chosen).tolist())]  # type: ignore[index]
        assert mine > max(worth.values()) - 0.1


def test_a_second_teacher_that_fails_where_the_first_does_is_passed_over() -> None:
    twins = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    chosen = best_sets(np.array([[0.6, 0.59, 0.5]]), twins, 2, np.zeros(3))
    assert chosen.tolist() == [[True, False, True]]


def test_a_price_turns_the_choice() -> None:
    chosen = best_sets(np.array([[0.6, 0.59]]), np.eye(2), 1, np.array([0.1, 0.0]))
    assert chosen.tolist() == [[False, True]]


def test_prompts_beyond_a_chunk_are_chosen_as_alone() -> None:
    expected = np.random.default_rng(0).normal(size=(1100, 4))
    noise, price = np.eye(4), np.zeros(4)
    whole = best_sets(expected, noise, 2, price)
    assert (whole[1090:] == best_sets(expected[1090:], noise, 2, price)).all()
    assert DRAWS % 2 == 0


def test_missing_rewards_are_left_out_of_the_covariance() -> None:
    rewards = np.array([[1.0, np.nan], [0.0, np.nan], [1.0, 1.0], [0.0, 0.0]])
    expected = np.array([[0.5, 0.5], [0.5, -np.inf], [0.5, 0.5], [0.5, 0.5]])
    assert error_covariance(rewards, expected).tolist() == [[0.25, 0.0], [0.0, 0.0]]

"""What an audit says of a reward, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.report.reward_audit import (
    Judged,
    accuracy_of,
    agreements,
    kappa,
    spearman,
)

NAN = float("nan")


def audited(differences: list[float], lengths: list[float] | None = None, **kwargs: object):  # type: ignore[no-untyped-def]
    values = np.array(differences)
    count = len(values)
    swapped = kwargs.get("swapped")
    judged = Judged("r", values, None if swapped is None else np.array(swapped))
    return accuracy_of(
        judged,
        np.array(lengths or [1.0] * count),
        kwargs.get("prompts", [str(n) for n in range(count)]),  # type: ignore[arg-type]
        np.arange(count),
    )


def test_a_tie_counts_half_and_what_was_not_measured_not_at_all() -> None:
    found = audited([2.0, 0.0, -1.0, NAN])
    assert (found.pairs, found.unmeasured, found.ties, found.accuracy) == (3, 1, 1, 0.5)


def test_nothing_measured_has_no_accuracy() -> None:
    found = audited([NAN, NAN])
    assert (found.pairs, found.unmeasured, found.accuracy, found.low) == (0, 2, None, None)


def test_one_pair_a_prompt_has_wilsons_interval() -> None:
    found = audited([1.0] * 9)
    assert found.low == pytest.approx(0.7008, abs=1e-3)
    assert found.high == pytest.approx(1.0)


def test_pairs_of_one_prompt_are_not_independent() -> None:
    signs = [1.0 if n % 3 else -1.0 for n in range(40)]
    alone = audited(signs)
    repeated = [sign for sign in signs for _ in range(10)]
    together = audited(repeated, prompts=[str(n // 10) for n in range(400)])
    assert alone.low is not None
    assert together.low is not None
    assert together.low == pytest.approx(alone.low, abs=0.04)


def test_a_reward_of_length_alone_is_right_only_where_the_chosen_is_longer() -> None:
    lengths = [5.0, 4.0, 3.0, -2.0, -1.0]
    found = audited(lengths, lengths)
    assert (found.accuracy_longer, found.accuracy_shorter) == (1.0, 0.0)
    assert found.length_gap == 1.0
    assert found.spearman == pytest.approx(1.0)


def test_a_judge_who_favours_the_first_place_says_nothing() -> None:
    found = audited([1.0] * 30, swapped=[-1.0] * 30)
    assert (found.accuracy, found.ties) == (0.5, 30)
    assert (found.same_both_orders, found.first_preferred) == (0.0, 1.0)


def test_without_an_order_there_is_no_position_bias_to_tell() -> None:
    found = audited([1.0, -1.0])
    assert found.same_both_orders is None
    assert found.first_preferred is None


def test_kappa_is_that_of_cohens_example() -> None:
    # Cohen 1960's formula by hand: observed 0.7, expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    assert kappa(np.array([[0.4, 0.1], [0.2, 0.3]])).item() == pytest.approx(0.4)


def test_rewards_with_unrelated_errors_have_kappa_near_0() -> None:
    random = np.random.default_rng(3)
    one, other = (np.where(random.random(2000) < 0.8, 1.0, -1.0) for _ in range(2))
    every = [("all", np.arange(2000))]
    (found,) = agreements(
        [Judged("a", one), Judged("b", other)], every, [str(n) for n in range(2000)]
    )
    assert found.agreement == pytest.approx(0.68, abs=0.04)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_a_reward_that_always_says_the_same_has_no_kappa() -> None:
    same = np.ones(5)
    (found,) = agreements([Judged("a", same), Judged("b", same)], [("tr", np.arange(5))], ["p"] * 5)
    assert (found.pairs, found.agreement, found.kappa) == (5, 1.0, None)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=40))
def test_the_correlation_with_length_does_not_know_which_answer_was_chosen(
    pairs: list[tuple[int, int]],
) -> None:
    one, other = np.array(pairs, dtype=np.float64).T
    turned = np.where(np.arange(len(one)) % 2, -1.0, 1.0)
    expected = spearman(one, other)
    assert spearman(one * turned, other * turned) == (
        None if expected is None else pytest.approx(expected)
    )


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0, NAN]), min_size=1, max_size=60))
def test_the_interval_holds_the_accuracy(differences: list[float]) -> None:
    found = audited(differences)
    if found.accuracy is not None and found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.accuracy + 1e-9
        assert found.accuracy - 1e-9 <= found.high <= 1

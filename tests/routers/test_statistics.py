"""Folds, intervals, corrections and the ranking of teachers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_logs import table_of

from arbitrage.routers.bootstrap import holm, resampled, two_sided
from arbitrage.routers.folds import clustered_error, grouped_folds
from arbitrage.routers.ranking import bradley_terry, rank_teachers
from arbitrage.routers.reward_log import reward_log_of

WON = (("best", 1.0), ("worst", 0.0))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.integers(2, 6), st.integers(0, 9))
def test_a_group_is_never_split_and_every_fold_has_one(
    groups: list[str], count: int, seed: int
) -> None:
    folds = grouped_folds(groups, count, seed)
    assert all(
        len({fold for fold, group in zip(folds.tolist(), groups, strict=True) if group == name})
        == 1
        for name in groups
    )
    assert sorted(set(folds.tolist())) == list(range(min(count, len(set(groups)))))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_correction_never_lowers_a_p_value_nor_turns_two_around(values: list[float]) -> None:
    corrected = holm(values)
    assert all(one <= other <= 1 for one, other in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [corrected[place] for place in order] == sorted(corrected)


def test_an_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = random.normal(1.0, 1.0, (60, 1))
        names = [str(n) for n in range(60)]
        low, high = resampled(values, names, replicates=300, seed=seed).interval() or (0, 0)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_rows_of_one_group_are_drawn_together_so_copies_do_not_narrow_an_interval() -> None:
    values = np.arange(20.0)[:, None]
    names = [str(n) for n in range(20)]
    once = resampled(values, names, replicates=500).interval()
    copied = resampled(
        np.repeat(values, 9, axis=0),
        [n for n in names for _ in range(9)],
        replicates=500,
    ).interval()
    assert once is not None
    assert copied == pytest.approx(once)
    groups = np.repeat(np.arange(20), 9)
    assert clustered_error(np.repeat(values[:, 0], 9), groups) == pytest.approx(
        clustered_error(values[:, 0], np.arange(20))
    )


def test_one_group_has_no_interval() -> None:
    assert resampled(np.ones((3, 1)), ["g", "g", "g"]).interval() is None


def test_a_p_value_is_never_zero() -> None:
    assert two_sided(np.ones(999)) == pytest.approx(0.002)
    assert two_sided(np.zeros(999)) == 1


def test_what_a_few_prompts_agree_on_is_not_sure() -> None:
    assert two_sided(np.ones(999), 5) > 0.05
    assert two_sided(np.ones(999), 6) < 0.05
    rows = [(f"p{n}", "tr", "x", name, reward) for n in range(5) for name, reward in WON]
    few = rank_teachers(reward_log_of(table_of(rows), "log"))[1]
    assert "not separable" in few.says
    rows += [("p5", "tr", "x", name, reward) for name, reward in WON]
    assert rank_teachers(reward_log_of(table_of(rows), "log"))[1].teachers[1].separable


def test_a_teacher_behind_everywhere_is_no_tie_in_a_small_language_however_cheap() -> None:
    rows = [(f"t{n}", "tr", "x", name, reward) for n in range(40) for name, reward in WON]
    rows += [(f"f{n}", "fi", "x", name, reward) for n in range(4) for name, reward in WON]
    costs = {"best": 5.0, "worst": 1.0}
    found = rank_teachers(reward_log_of(table_of(rows), "log"), costs=costs)
    assert {ranking.language: ranking.choice for ranking in found} == {
        "all": "best",
        "fi": "best",
        "tr": "best",
    }


def test_bradley_terry_finds_the_strengths_that_made_the_wins() -> None:
    truth = np.array([1.0, 0.2, -0.3, -0.9])
    chance = 1 / (1 + np.exp(truth[None] - truth[:, None]))
    found = bradley_terry((chance * 1e6)[None])[0]
    np.testing.assert_allclose(found, truth - truth.mean(), atol=1e-3)


def ranked(gap: float, **costs: float):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(1)
    rows = [
        (f"p{n:03}", "tr", "x", name, mean + random.normal(0, 0.2))
        for n in range(200)
        for name, mean in (("a", 0.5 + gap), ("b", 0.5), ("c", 0.1))
    ]
    return rank_teachers(reward_log_of(table_of(rows), "log"), costs=costs)


def test_a_clear_leader_is_said_with_how_far_it_leads() -> None:
    overall, turkish = ranked(0.2)
    assert overall.language == "all"
    assert turkish.language == "tr"
    assert [line.teacher for line in turkish.teachers] == ["a", "b", "c"]
    assert turkish.choice == "a"
    assert "a is best in tr" in turkish.says
    assert turkish.teachers[1].separable
    low, high = turkish.teachers[1].behind_ci95
    assert low < 0.2 < high
    strengths = [line.strength for line in turkish.teachers]
    assert strengths == sorted(strengths, reverse=True)


def test_what_cannot_be_told_apart_is_said_and_goes_to_the_cheaper() -> None:
    turkish = ranked(0.0, a=3.0, b=1.0, c=0.5)[1]
    assert "not separable from" in turkish.says
    assert turkish.choice == "b"

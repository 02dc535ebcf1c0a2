"""Prompts to label: balanced over languages, leaning towards disagreement, never twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import ConfigError
from arbitrage.routers.choosing import choose, disagreement

TAGS = st.lists(st.sampled_from(["tr", "fi", "ar", "ja"]), min_size=0, max_size=60)


@given(tags=TAGS, n=st.integers(0, 80), seed=st.integers(0, 5), data=st.data())
def test_the_choice_is_distinct_unlabelled_as_large_as_asked_and_even(
    tags: list[str], n: int, seed: int, data: st.DataObject
) -> None:
    labelled = np.array(data.draw(st.lists(st.booleans(), min_size=len(tags), max_size=len(tags))))
    labelled = labelled.astype(np.bool_)
    chosen = choose(tags, None, n, seed=seed, labelled=labelled)
    left = int((~labelled).sum())
    assert len(chosen) == len(set(chosen.tolist())) == min(n, left)
    assert not labelled[chosen].any()
    after = Counter(tag for place, tag in enumerate(tags) if labelled[place] or place in chosen)
    new = Counter(tags[place] for place in chosen)
    total = Counter(tags)
    for tag in total:
        for other in new:
            # A language that got one is at most one ahead of any that could have had more.
            assert after[other] <= after[tag] + 1 or after[tag] == total[tag]


def test_the_same_seed_gives_the_same_choice_and_another_another() -> None:
    tags = ["tr"] * 200
    assert choose(tags, None, 50, seed=1).tolist() == choose(tags, None, 50, seed=1).tolist()
    assert choose(tags, None, 50, seed=1).tolist() != choose(tags, None, 50, seed=2).tolist()


def test_prompts_that_divide_teachers_are_drawn_more_often_and_the_others_still() -> None:
    tags, apart = ["tr"] * 1000, np.tile([0.1, 0.9], 500)
    chosen = choose(tags, apart, 200, seed=0)
    divided = int((chosen % 2 == 1).sum())
    assert 150 < divided < 200


def test_undisputed_prompts_come_only_when_the_others_are_gone() -> None:
    chosen = choose(["tr"] * 6, np.array([0.0, 1, 0, 1, 0, 1]), 4, seed=3)
    assert {1, 3, 5} < set(chosen.tolist())


def test_an_unknown_disagreement_counts_as_the_mean_of_its_language() -> None:
    apart = np.array([np.nan] * 500 + [0.5] * 500)
    chosen = choose(["tr"] * 1000, apart, 400, seed=0)
    assert 150 < int((chosen < 500).sum()) < 250


@pytest.mark.parametrize("value", [-0.1, np.inf])
def test_a_disagreement_that_cannot_be_is_an_error_that_names_the_prompt(value: float) -> None:
    with pytest.raises(ConfigError, match="of prompt 1 is"):
        choose(["tr", "fi"], np.array([0.0, value]), 1, seed=0)


def test_columns_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ConfigError, match="1 disagreements"):
        choose(["tr", "fi"], np.array([0.0]), 1, seed=0)


def test_disagreement_is_the_spread_over_the_teachers_that_are_known() -> None:
    rewards = np.array([[0.0, 1.0, np.nan], [0.3, 0.3, 0.3], [np.nan] * 3, [-np.inf, 2.0, 4.0]])
    assert disagreement(rewards).tolist() == [0.5, 0.0, 0.0, 1.0]

"""Rounds of an exact run: no end before N are accepted or the last prompt is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.filters.exact import Standing, foreseen, most_per_prompt, next_prompts, next_round

pytestmark = pytest.mark.usefixtures("marks_registered")


def rounds_until_over(wanted: int, yields: list[int], most: int) -> tuple[Standing, list[int]]:
    """The last standing of a language whose prompts yield these numbers, and each round's size."""
    now, sizes = Standing("th", wanted, len(yields)), []
    while spans := next_round({"th": now}, most):
        start, stop = spans["th"]
        assert start == now.asked < stop <= now.prompts
        now = replace(now, asked=stop, accepted=sum(yields[:stop]))
        sizes.append(stop - start)
    return now, sizes


@given(
    st.integers(0, 300),
    st.integers(1, 5).flatmap(
        lambda most: st.tuples(st.just(most), st.lists(st.integers(0, most), max_size=400))
    ),
)
def test_it_ends_with_enough_or_with_no_prompt_left(
    wanted: int, pool: tuple[int, list[int]]
) -> None:
    most, yields = pool
    end, _ = rounds_until_over(wanted, yields, most)
    assert min(end.accepted, wanted) == min(sum(yields), wanted)
    assert end.left == 0 or end.accepted >= wanted
    assert end.accepted >= 0


def test_nobody_is_asked_in_vain_where_all_is_accepted() -> None:
    assert rounds_until_over(100, [1] * 900, 1)[1] == [100]
    assert rounds_until_over(100, [3] * 900, 3)[1] == [34]


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
def test_few_rounds_and_few_prompts_too_many(share: float) -> None:
    """Over 200 drawn inputs, 1,000 wanted of each: docs/decisions/015-exact-n.md has the means."""
    drawn = np.random.default_rng(7)
    rounds, beyond = [], []
    for _ in range(200):
        now, count = Standing("th", 1000, 200_000), 0
        while more := next_prompts(now, 1):
            accepted = now.accepted + int(drawn.binomial(more, share))
            now, count = replace(now, asked=now.asked + more, accepted=accepted), count + 1
        rounds.append(count)
        beyond.append(now.accepted - 1000)
    assert np.mean(rounds) <= 6
    assert np.mean(beyond) <= 50


@pytest.mark.parametrize(
    ("select", "samples", "teachers", "most"),
    [
        ({}, 3, 2, 6),
        ({"per_prompt": 1}, 3, 2, 1),
        ({"per_prompt": 9}, 3, 2, 6),
        ({"per_prompt": 2, "best_of": "teacher"}, 3, 2, 4),
        ({"per_prompt": 5, "best_of": "teacher"}, 3, 2, 6),
    ],
)
def test_what_one_prompt_can_yield(
    config_of: Any, select: dict[str, Any], samples: int, teachers: int, most: int
) -> None:
    config = config_of(**select)
    config = config.model_copy(
        update={
            "run": config.run.model_copy(update={"samples": samples}),
            "router": config.router.model_copy(update={"teachers_per_prompt": teachers}),
        }
    )
    assert most_per_prompt(config) == most


def test_a_plan_foresees_what_cannot_be_reached(config_of: Any) -> None:
    config = config_of(exact={"tr": 5, "ko": 2})
    found = foreseen(config, {"tr": 3, "zh-Hant": 9})
    assert found == [
        {"language": "ko", "wanted": 2, "prompts": 0, "least": 0, "short": 2},
        {"language": "tr", "wanted": 5, "prompts": 3, "least": 3, "short": 2},
        {"language": "zh-Hant", "wanted": 0, "prompts": 9, "least": 0, "short": 0},
    ]


def test_an_unwanted_language_is_never_asked() -> None:
    assert next_prompts(Standing("ar", 0, 50), 1) == 0

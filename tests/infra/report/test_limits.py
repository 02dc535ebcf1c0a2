"""What a run says of its limits, and why it is short."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from arbitrage.config.limits import NOT_NEEDED
from arbitrage.config.model import SelectConfig
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.generation.death import TEACHER_DEAD
from arbitrage.infra.report.counts import Cell, Counts, Unroutable
from arbitrage.infra.report.limits import DECIDED_AGAIN, EXHAUSTED, limit_rows, shortfalls


def row_of(select: dict[str, Any], unasked: dict[str, int], failures: dict[str, int]) -> Any:
    """The one row of a run in Thai with 3 available of 10 asked."""
    cell = Cell(
        requested=10,
        kept=3,
        chosen=3,
        rejected=7 - sum(failures.values()),
        failed=sum(failures.values()),
        reasons=Counter({"length.min_words": 5}),
        failures=Counter(failures),
    )
    lost = Unroutable(sum(unasked.values()), Counter(unasked))
    counts = Counts({("th", "a"): cell}, {"th": lost} if unasked else {})
    found = [{"language": "th", "limit": 5, "available": 3, "value": None, "candidate_id": None}]
    (row,) = limit_rows(SelectConfig.model_validate(select), found, {"th": 10}, counts)
    return row


@pytest.mark.parametrize(
    ("unasked", "failures", "why"),
    [
        ({}, {}, [EXHAUSTED]),
        ({"route.no_teacher": 2}, {}, [EXHAUSTED]),
        ({SPENT: 4}, {SPENT: 1}, [SPENT]),
        ({}, {SPENT: 1}, [SPENT, EXHAUSTED]),
        ({}, {TEACHER_DEAD: 2}, [TEACHER_DEAD, EXHAUSTED]),
        ({NOT_NEEDED: 4}, {}, [DECIDED_AGAIN]),
    ],
)
def test_why_it_is_short(unasked: dict[str, int], failures: dict[str, int], why: list[str]) -> None:
    row = row_of({"exact": 5}, unasked, failures)
    assert (row["limit"], row["chosen"], row["short"], row["asked"]) == (5, 3, 2, 10)
    assert row["prompts"] == 10 + sum(unasked.values())
    assert row["why"] == why
    (sentence,) = shortfalls({"limits": [row]})
    assert sentence.startswith(f"th: 3 of 5 wanted; 10 of {row['prompts']} prompts asked, ")


def test_a_cap_is_never_short_and_enough_is_enough() -> None:
    capped = row_of({"per_language": 5}, {}, {})
    assert (capped["short"], capped["why"]) == (0, [])
    assert row_of({"exact": 3}, {NOT_NEEDED: 9}, {})["short"] == 0
    assert shortfalls({"limits": [capped]}) == []


def test_a_wanted_language_without_a_prompt_is_short_too() -> None:
    select = SelectConfig.model_validate({"exact": {"ko": 2}})
    (row,) = limit_rows(select, [], {"th": 10}, Counts())
    assert (row["language"], row["short"], row["prompts"], row["why"]) == ("ko", 2, 0, [EXHAUSTED])


def test_without_limits_there_is_nothing_to_say() -> None:
    assert limit_rows(SelectConfig(), [], {"th": 10}, Counts()) == []
    assert shortfalls({}) == []

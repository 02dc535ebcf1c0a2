"""A run's end in a sentence: what was kept, and each way in which it fell short."""

from __future__ import annotations

from typing import Any

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.outcome import Outcome


def manifest(**changes: Any) -> dict[str, Any]:
    whole = {
        "totals": {"requested": 900, "kept": 812, "failed": 0},
        "config": {"run": {"max_failed_share": 0.01}},
        "counts": {"cells": []},
    }
    return whole | changes


def test_a_whole_run_has_no_shortfall() -> None:
    outcome = Outcome.of(manifest())
    assert outcome.shortfalls == ()
    assert outcome.sentence == "kept 812 of 900"


def test_failures_within_what_is_tolerated_are_no_shortfall() -> None:
    totals = {"requested": 900, "kept": 812, "failed": 9}
    assert Outcome.of(manifest(totals=totals)).shortfalls == ()
    (said,) = Outcome.of(manifest(totals=totals | {"failed": 10})).shortfalls
    assert said == "10 of 900 failed, more than 1.0%"


def test_a_dead_teacher_is_a_shortfall_even_where_the_others_answered_for_it() -> None:
    (said,) = Outcome.of(manifest(deaths=[{"teacher": "b", "reason": "refused"}])).shortfalls
    assert said == "teacher b died (refused)"


def test_a_spent_budget_is_a_shortfall() -> None:
    (said,) = Outcome.of(manifest(counts={"cells": [{"failures": {SPENT: 3}}]})).shortfalls
    assert said == "the budget is spent: 3 were not asked for"


def test_a_run_in_which_nothing_was_requested_fell_short() -> None:
    totals = {"requested": 0, "kept": 0, "failed": 0}
    assert Outcome.of(manifest(totals=totals)).shortfalls

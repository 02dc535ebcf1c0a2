"""A run's end in a sentence: what was kept, and each way in which it fell short."""

from __future__ import annotations

from typing import Any

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.outcome import Outcome


def manifest(**changes: Any) -> dict[str, Any]:
    whole = {
        "run_id": "r",
        "totals": {"requested": 900, "kept": 812, "failed": 0, "cost_usd": 0.498},
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
    assert said == (
        "shortfall: 10 of 900 requested candidates failed "
        "(1.1%, tolerated 1.0%: run.max_failed_share)"
    )


def test_a_dead_teacher_is_a_shortfall_even_where_the_others_answered_for_it() -> None:
    death = {"teacher": "b", "reason": "refused", "rerouted": 7, "failed": 0}
    (said,) = Outcome.of(manifest(deaths=[death])).shortfalls
    assert said == "dead teacher: b (refused): 7 of its candidates were asked of others, 0 failed"


def test_a_spent_budget_is_a_shortfall() -> None:
    budget = manifest(
        counts={"cells": [{"failures": {SPENT: 3}}]},
        config={"run": {"max_failed_share": 0.01, "budget_usd": 0.5, "budget_tokens": None}},
    )
    (said,) = Outcome.of(budget).shortfalls
    assert said == (
        "budget: run.budget_usd = 0.5 is spent (0.4980 USD): 3 of 900 requested candidates were "
        f"not asked for ({SPENT}); run id r with a larger one goes on"
    )


def test_scores_that_no_budget_was_left_for_are_a_shortfall_also_in_part() -> None:
    budget = manifest(
        config={"run": {"max_failed_share": 0.01, "budget_requests": 12}},
        rewards={"unscored": {"judge": {"partly_budget_spent": 2, "refused": 1}}},
    )
    (said,) = Outcome.of(budget).shortfalls
    assert said.endswith("is spent: 2 scores were not asked for, or in part")


def test_a_run_in_which_nothing_was_requested_fell_short() -> None:
    totals = {"requested": 0, "kept": 0, "failed": 0}
    assert Outcome.of(manifest(totals=totals)).shortfalls

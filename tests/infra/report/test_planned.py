"""Planned against actual: the same quantities side by side, in the report too."""

from __future__ import annotations

import pytest

from arbitrage.infra.report.html import render_report
from arbitrage.infra.report.planned import planned_rows, usage_totals

PLAN = {
    "teachers": [
        {
            "name": name,
            "requests": 10,
            "candidates": 20,
            "prompt_tokens": 100,
            "output_tokens": 400,
            "cost_usd": cost,
            "expected_output_tokens": 400,
            "expected_cost_usd": cost,
            "hours": 0.5,
        }
        for name, cost in (("alpha", 0.8), ("beta", None))
    ]
}
USED = {
    "requests": 9,
    "prompt_tokens": 120,
    "completion_tokens": 250,
    "cost_usd": 0.5,
    "untold": 0,
    "seconds": 61.25,
}


def test_each_teacher_has_planned_and_actual_and_all_have_their_sum():
    alpha, beta, everything = planned_rows({"plan": PLAN, "usage": {"alpha": USED}})
    assert alpha.planned == {
        "requests": 10, "prompt tokens": 100, "output tokens": 400, "USD": 0.8, "seconds": 1800.0
    }  # fmt: skip
    assert list(alpha.actual.values()) == [9, 120, 250, 0.5, 61.2]
    assert beta.planned["USD"] is None
    assert beta.actual["requests"] == 0
    assert everything.actual["requests"] == 9
    assert (everything.planned["USD"], everything.planned["seconds"]) == (0.8, 1800.0)


def test_a_manifest_without_a_plan_has_no_such_table(run, manifest):
    assert planned_rows(manifest) == []
    assert "Planned and actual" not in render_report(run, manifest)


def test_counts_a_server_did_not_tell_are_not_shown_as_nothing():
    (row,) = planned_rows(
        {
            "plan": {"teachers": PLAN["teachers"][:1]},
            "usage": {"alpha": {**USED, "untold": 9, "completion_tokens": 0}},
        }
    )
    assert (row.actual["output tokens"], row.actual["prompt tokens"]) == (None, None)


def test_the_report_shows_both(run, manifest):
    page = render_report(run, {**manifest, "plan": PLAN, "usage": {"alpha": USED}})
    assert "Planned and actual" in page
    assert "1,800" in page
    assert "61.2" in page


def test_totals_count_a_prompt_once_a_request():
    totals = {"prompt_tokens": 999, "completion_tokens": 0, "cost_usd": 0.4, "kept": 3}
    used = usage_totals(totals, {"alpha": USED, "beta": USED})
    assert (used["prompt_tokens"], used["completion_tokens"], used["kept"]) == (240, 500, 3)
    assert used["cost_usd"] == pytest.approx(1.0)
    assert usage_totals(totals, {}) == totals

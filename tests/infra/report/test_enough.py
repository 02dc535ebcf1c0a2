"""How large a budget is said to be enough, and how a page says that a run was gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.enough import enough


def manifest(asked: int, left: int, usage: dict[str, Any], prompts: int = 0, **limits: Any) -> Any:
    cell = {"language": "tr", "teacher": "a", "failed": left, "failures": {SPENT: left}}
    buried = {"language": "ko", "prompts": prompts, "reasons": {SPENT: prompts}}
    used = {"cost_usd": 0.0, "requests": 0, "prompt_tokens": 0, "completion_tokens": 0, **usage}
    return {
        "counts": {"cells": [cell], "unroutable": [buried] if prompts else []},
        "totals": {"requested": asked + left},
        "usage": {"a": used},
        "config": {"run": limits, "teachers": [{"name": "a", "backend": "openai"}]},
    }


def test_it_is_what_is_missing_at_the_price_so_far_and_a_tenth_more() -> None:
    # 44 asked for 0.352, 46 left: 0.352 + 1.1 x 0.368 = 0.7568
    found = enough(manifest(44, 46, {"cost_usd": 0.352, "requests": 44}, budget_usd=0.36))
    assert found == {"run.budget_usd": 0.76}


def test_limits_that_would_not_be_met_stay() -> None:
    usage = {"cost_usd": 0.5, "requests": 50}
    found = enough(manifest(50, 50, usage, budget_usd=0.5, budget_requests=1000))
    assert found == {"run.budget_usd": 1.1}


@pytest.mark.parametrize(("asked", "prompts"), [(0, 0), (20, 400)])
def test_where_the_need_is_not_known_it_is_twice(asked: int, prompts: int) -> None:
    found = enough(manifest(asked, 5, {"requests": asked}, prompts, budget_requests=20))
    assert found == {"run.budget_requests": 40}


def test_there_is_always_a_limit_to_raise() -> None:
    found = enough(manifest(90, 1, {"cost_usd": 0.1}, budget_usd=0.5, budget_tokens=10_000_000))
    assert found == {"run.budget_usd": 1.0}


def test_a_run_that_lacks_nothing_needs_none() -> None:
    assert enough(manifest(10, 0, {"requests": 10}, budget_requests=10)) == {}

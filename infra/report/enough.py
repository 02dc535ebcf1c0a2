"""How large a budget would have been enough: for the command that goes on with a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.counts import Counts
from arbitrage.infra.store.raised import limits_of, spent_by, unasked

# What is left may cost more than what was asked.
_MARGIN = 1.1


def enough(manifest: Mapping[str, Any]) -> dict[str, float]:
    """`run.budget_*` keys and the values to raise them to; empty where nothing was left unasked.

    What an answer has cost so far, times those that are missing, and a tenth more: an estimate. A
    run of which nothing was asked, or an exact one whose need nobody knows, gets twice what it had.

    >>> cell = {"language": "tr", "teacher": "a", "kept": 10, "failed": 10,
    ...     "failures": {SPENT: 10}}
    >>> enough({"counts": {"cells": [cell]}, "usage": {"a": {"cost_usd": 0.5, "requests": 10,
    ...     "prompt_tokens": 0, "completion_tokens": 900}}, "totals": {"requested": 20},
    ...     "config": {"run": {"budget_usd": 0.5}, "teachers": []}})
    {'run.budget_usd': 1.1}
    """
    missing = unasked(manifest)
    if not missing:
        return {}
    counts = Counts.from_json(manifest["counts"])
    asked = manifest["totals"]["requested"] - counts.total().failures[SPENT]
    known = asked > 0 and not counts.unroutable_total.reasons[SPENT]
    gone = spent_by(manifest["config"], manifest["usage"])
    needed: dict[str, float] = {}
    set_ones = {k: v for k, v in limits_of(manifest["config"]["run"]).items() if v is not None}
    for name, limit in set_ones.items():
        more = gone[name] / asked * missing * _MARGIN if known else max(limit, gone[name])
        if gone[name] + more > limit:
            needed[name] = gone[name] + more
    if not needed and set_ones:
        nearest = max(set_ones, key=lambda name: gone[name] / set_ones[name])
        needed[nearest] = 2 * set_ones[nearest]
    return {f"run.budget_{name}": _round_up(value) for name, value in needed.items()}


def _round_up(value: float) -> float:
    """To two figures, upwards.

    >>> _round_up(0.3011), _round_up(4321), _round_up(29.7)
    (0.31, 4400, 30)
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    rounded = math.ceil(value / step - 1e-9) * step
    return round(rounded) if rounded >= 10 else round(rounded, 12)

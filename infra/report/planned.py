"""Planned against actual: what the routes let expect of each teacher, and what it really used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbitrage.infra.generation.purse import is_asker

ALL = "all"

_UNPLANNED = {
    "requests": None,
    "prompt_tokens": None,
    "expected_output_tokens": None,
    "expected_cost_usd": None,
    "hours": 0.0,
}
_ADDED = ("requests", "prompt tokens", "output tokens", "USD")


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One teacher, or all together: the same quantities, planned and actual; None = not known."""

    teacher: str
    planned: Mapping[str, float | None]
    actual: Mapping[str, float | None]


def planned_rows(manifest: Mapping[str, Any]) -> list[PlannedRow]:
    """A row a teacher, one a filter that asks a server, and one for all, from the manifest's `plan`
    and `usage`; [] without them."""
    plan, usage = manifest.get("plan"), manifest.get("usage")
    if not plan or not usage:
        return []
    items = [*plan["teachers"], *plan.get("filters", [])]
    known = {item["name"] for item in items}
    # Asked when the run was decided again: nobody planned it.
    items += [{**_UNPLANNED, "name": name} for name in usage if name not in known]
    rows = [
        PlannedRow(item["name"], _planned(item), _actual(usage.get(item["name"]), item))
        for item in items
    ]
    if len(rows) > 1:
        rows.append(
            PlannedRow(ALL, _sum([r.planned for r in rows]), _sum([r.actual for r in rows]))
        )
    return rows


def usage_totals(
    totals: Mapping[str, Any], usage: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The run's totals with tokens and cost as used, once a request, where that is known.

    `totals` sums over candidates, where every sample repeats its prompt's tokens and a lost or
    replaced answer is missing. Cost is the larger of both: the log may lack the last moment
    before a kill, the candidates what was paid for answers that are not theirs. Questions to reward
    servers are in the cost, and not in the tokens of candidates.
    """
    if not usage:
        return dict(totals)
    teachers = [teacher for name, teacher in usage.items() if not is_asker(name)]
    used = {
        name: int(sum(teacher[name] for teacher in teachers))
        for name in ("prompt_tokens", "completion_tokens")
    }
    cost = sum(teacher["cost_usd"] for teacher in usage.values())
    return {**totals, **used, "cost_usd": max(cost, totals.get("cost_usd") or 0.0)}


def amount(value: float | None) -> str:
    """A quantity for a table: whole numbers in full, others in four significant figures.

    >>> amount(1234567), amount(0.012345), amount(0.0), amount(None)
    ('1,234,567', '0.01235', '0', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) or value >= 1e4 else f"{value:,.4g}"


def _planned(item: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        "requests": item["requests"],
        "prompt tokens": item["prompt_tokens"],
        "output tokens": item["expected_output_tokens"],
        "USD": item["expected_cost_usd"],
        "seconds": round(item["hours"] * 3600, 1),
    }


def _actual(used: Mapping[str, float] | None, item: Mapping[str, Any]) -> dict[str, float | None]:
    if used is None:
        return {name: None if name == "USD" else 0 for name in _planned(item)}
    untold = used["untold"] >= used["requests"]
    return {
        "requests": used["requests"],
        "prompt tokens": None if untold or not used["prompt_tokens"] else used["prompt_tokens"],
        "output tokens": None if untold else used["completion_tokens"],
        "USD": None
        if item["expected_cost_usd"] is None and not used["cost_usd"]
        else used["cost_usd"],
        "seconds": round(used["seconds"], 1),
    }


def _sum(parts: list[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Together; teachers work at the same time, so seconds are those of the longest."""
    total: dict[str, float | None] = {}
    for name in parts[0]:
        known = [value for part in parts if (value := part[name]) is not None]
        added = sum(known) if name in _ADDED else max(known, default=0.0)
        total[name] = added if known else None
    return total

"""When a run was gone on with, what it had spent until then, and which keys were changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_UNITS = (("usd", "USD"), ("requests", "requests"), ("tokens", "tokens"))


def continued_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each time, the first one first; runs of earlier versions have none.

    >>> continued_sentences({"continued": [{"at": "2026-11-21T20:00:00+00:00", "manifest": "1f",
    ...     "spent": {"usd": 0.352, "requests": 44, "tokens": 8000},
    ...     "changed": {"run.budget_usd": [0.36, 0.8], "run.budget_tokens": [9000, None]}}]})[0]
    '2026-11-21T20:00:00+00:00, finished before: 0.352 USD, 44 requests, 8,000 tokens spent; run.budget_usd 0.36 -> 0.8, run.budget_tokens 9000 -> not set'
    """  # noqa: E501 - one sentence
    return [_sentence(item) for item in manifest.get("continued", [])]


def _sentence(item: Mapping[str, Any]) -> str:
    spent = ", ".join(_spent(item["spent"])) or "nothing"
    changed = ", ".join(
        f"{key} {_said(before)} -> {_said(after)}"
        for key, (before, after) in item["changed"].items()
    )
    state = "finished before" if item["manifest"] else "stopped before its end"
    return f"{item['at']}, {state}: {spent} spent; {changed or 'nothing changed'}"


def _spent(spent: Mapping[str, float]) -> Iterator[str]:
    for name, unit in _UNITS:
        if spent[name]:
            yield f"{spent[name]:,.6g} {unit}" if name == "usd" else f"{spent[name]:,.0f} {unit}"


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)

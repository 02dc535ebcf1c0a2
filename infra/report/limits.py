"""What the limits by language did: wanted, available, chosen, and why an exact run fell short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arbitrage.config.limits import NOT_NEEDED, limit_of, named_languages
from arbitrage.config.select import SelectConfig
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.generation.death import TEACHER_DEAD
from arbitrage.infra.report.counts import Counts, Unroutable

EXHAUSTED = "select.prompts_exhausted"
DECIDED_AGAIN = "select.decided_again"

_WORDS = {
    EXHAUSTED: "none is left",
    SPENT: "the budget is spent",
    TEACHER_DEAD: "teachers are dead",
    DECIDED_AGAIN: "deciding again asks no further prompts",
}
_MOST_REASONS = 3


def limit_rows(
    select: SelectConfig,
    found: Iterable[Mapping[str, Any]],
    asked: Mapping[str, int],
    counts: Counts,
) -> list[dict[str, Any]]:
    """The manifest's `limits`: one JSON-like object for each language that has a limit.

    `language`, `limit` (chosen at most; with select.exact also wanted), `available` (would be
    chosen without it), `chosen`, `prompts` (input rows), `asked` (of them), `short` (wanted and not
    there, 0 without select.exact), `why` (reasons why it is short) and `lost` (what most answers
    were lost to, reason -> candidates).

    Args:
        found: the limits of the run, as JSON.
        asked: language -> its routed prompts.
        counts: of the whole run.
    """
    available = {item["language"]: int(item["available"]) for item in found}
    tags = sorted({*available, *asked, *counts.unroutable, *named_languages(select.limits)})
    return [
        _row(select, tag, available.get(tag, 0), asked.get(tag, 0), counts)
        for tag in tags
        if limit_of(select.limits, tag) is not None
    ]


def _row(
    select: SelectConfig, tag: str, available: int, asked: int, counts: Counts
) -> dict[str, Any]:
    limit = limit_of(select.limits, tag) or 0
    unasked = counts.unroutable.get(tag, Unroutable())
    cell = counts.total(language=tag)
    short = max(0, limit - available) if select.exact is not None else 0
    lost = cell.reasons + cell.failures
    return {
        "language": tag,
        "limit": limit,
        "available": available,
        "chosen": cell.chosen,
        "prompts": asked + unasked.prompts,
        "asked": asked,
        "short": short,
        "why": list(_why(unasked.reasons, cell.failures)) if short else [],
        "lost": dict(sorted(lost.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]),
    }


def _why(unasked: Counter[str], failures: Counter[str]) -> Iterator[str]:
    spent = unasked[SPENT] + failures[SPENT]
    if spent:
        yield SPENT
    if failures[TEACHER_DEAD]:
        yield TEACHER_DEAD
    if not unasked[SPENT] + unasked[NOT_NEEDED]:
        yield EXHAUSTED
    elif not spent:
        yield DECIDED_AGAIN


def shortfalls(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each language of an exact run that fell short.

    >>> shortfalls({"limits": [{"language": "tr", "limit": 500, "chosen": 412, "prompts": 800,
    ...     "asked": 800, "short": 88, "why": [EXHAUSTED], "lost": {"length.min_words": 210}}]})
    ['tr: 412 of 500 wanted; 800 of 800 prompts asked, none is left. Lost: length.min_words 210']
    """
    return [_sentence(row) for row in manifest.get("limits", []) if row["short"]]


def _sentence(row: Mapping[str, Any]) -> str:
    why = ", ".join(_WORDS[reason] for reason in row["why"])
    lost = ", ".join(f"{reason} {count:,}" for reason, count in row["lost"].items())
    return (
        f"{row['language']}: {row['chosen']:,} of {row['limit']:,} wanted; {row['asked']:,} of "
        f"{row['prompts']:,} prompts asked, {why}" + (f". Lost: {lost}" if lost else "")
    )

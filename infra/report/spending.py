"""What each teacher cost and how fast it was, from the run's own count of requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALL = "all"


@dataclass(frozen=True, slots=True)
class Spending:
    """One teacher, or all together; None = not told by the server, or not priced.

    Attributes:
        requests: that ended, also in failure.
        failed: samples that failed for good.
        output_tokens: as the server counted them.
        seconds: from the first request to the last answer, pauses between resumes left out.
        tokens_per_s: output tokens by `seconds`: what the teacher gave this run, not what it could.
        request_s: mean time of a request.
        cost_usd: by the prices in the config.
        died: why it was given up; empty where it was not.
    """

    teacher: str
    requests: int
    failed: int
    output_tokens: int | None
    seconds: float
    tokens_per_s: float | None
    request_s: float | None
    cost_usd: float | None
    died: str = ""


def spending(manifest: Mapping[str, Any]) -> list[Spending]:
    """A row a teacher that was asked, and one for all; [] where nothing was asked.

    >>> used = {"requests": 4, "failed": 1, "completion_tokens": 600, "untold": 0, "cost_usd": 0.5,
    ...     "request_s": 8.0, "seconds": 3.0}
    >>> spending({"usage": {"a": used}})[0].tokens_per_s
    200.0
    """
    usage = manifest.get("usage") or {}
    deaths = {item["teacher"]: str(item["reason"]) for item in manifest.get("deaths", [])}
    rows = [_row(name, used, deaths.get(name, "")) for name, used in sorted(usage.items())]
    return [*rows, _together(rows)] if len(rows) > 1 else rows


def _row(name: str, used: Mapping[str, Any], died: str) -> Spending:
    requests, seconds = int(used["requests"]), float(used["seconds"])
    told = used["untold"] < requests and used["completion_tokens"] > 0
    tokens = int(used["completion_tokens"]) if told else None
    return Spending(
        teacher=name,
        requests=requests,
        failed=int(used.get("failed", 0)),
        output_tokens=tokens,
        seconds=seconds,
        tokens_per_s=tokens / seconds if tokens and seconds > 0 else None,
        request_s=used["request_s"] / requests if requests and "request_s" in used else None,
        cost_usd=float(used["cost_usd"]) or None,
        died=died,
    )


def _together(rows: list[Spending]) -> Spending:
    """All teachers; they work at the same time, so the seconds are those of the longest."""
    tokens = [row.output_tokens for row in rows if row.output_tokens is not None]
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    requests = sum(row.requests for row in rows)
    seconds = max(row.seconds for row in rows)
    spent = sum(row.requests * (row.request_s or 0.0) for row in rows)
    return Spending(
        teacher=ALL,
        requests=requests,
        failed=sum(row.failed for row in rows),
        output_tokens=sum(tokens) if tokens else None,
        seconds=seconds,
        tokens_per_s=sum(tokens) / seconds if tokens and seconds > 0 else None,
        request_s=spent / requests if requests else None,
        cost_usd=sum(costs) if costs else None,
    )

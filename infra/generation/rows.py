"""Completions as GENERATED rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from arbitrage.config import RunConfig
from arbitrage.infra.teachers.base import Completion, Request
from arbitrage.schema import lists_of


@dataclass(frozen=True, slots=True)
class RouteFact:
    """What the route says of one prompt × teacher: who drew it and with which probability.

    `params_hash` and `greedy_hash` are those of its drawn and of its greedy samples.
    """

    router: str
    probability: float
    params_hash: str
    greedy_hash: str


RouteFacts = Mapping[tuple[str, str], RouteFact]


def route_facts(routes: pa.Table, config: RunConfig) -> dict[tuple[str, str], RouteFact]:
    """(prompt_id, teacher) -> its RouteFact, for every drawn teacher of ROUTES rows."""
    hashes = {
        teacher.name: (teacher.sent_hash(greedy=False), teacher.sent_hash(greedy=True))
        for teacher in config.teachers
    }
    lists = [routes.column(name).to_pylist() for name in ("prompt_id", "router")]
    lists += [lists_of(routes.column(name)) for name in ("drawn", "propensities")]
    return {
        (prompt, teacher): RouteFact(router, propensity, *hashes[teacher])
        for prompt, router, drawn, propensities in zip(*lists, strict=True)
        for teacher, propensity in zip(drawn, propensities, strict=True)
    }


def generated_rows(
    request: Request,
    completions: Iterable[Completion],
    facts: RouteFacts,
    *,
    created_at: datetime | None = None,
) -> list[dict[str, Any]]:
    """One row a completion, with the columns of GENERATED plus `detail` and `retryable`.

    The two further keys are for the journal and the graveyard; `schema.table_of` leaves them out.
    Numbers that are not finite become null.
    """
    created_at = created_at or datetime.now(UTC)
    fact = facts[request.prompt_id, request.teacher]
    ids = {sample.index: sample.candidate_id for sample in request.samples}
    return [
        {
            "candidate_id": ids[completion.sample_index],
            "prompt_id": request.prompt_id,
            "language": request.language,
            "teacher": request.teacher,
            "sample_index": completion.sample_index,
            "text": completion.text,
            "reasoning": completion.reasoning,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "sum_logprob": _finite(completion.sum_logprob),
            "route_probability": fact.probability,
            "router": fact.router,
            "params_hash": fact.greedy_hash if request.greedy else fact.params_hash,
            "created_at": created_at,
            "latency_ms": _finite(completion.latency_ms),
            "cost_usd": _finite(completion.cost_usd),
            "error": completion.error,
            "detail": completion.detail,
            "retryable": completion.retryable,
        }
        for completion in completions
    ]


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None

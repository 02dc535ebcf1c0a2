"""A dead teacher's prompts go to others: the routes that say so. Pure and seeded."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from arbitrage import keys
from arbitrage.infra.teachers.base import Request
from arbitrage.schema import ROUTES, conform

# Ends the `router` of a route that is not as the router drew it.
REROUTED = "+rerouted"

MayAnswer = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Move:
    """One prompt that changed its teacher, with the samples that go with it."""

    prompt_id: str
    dead: str
    teacher: str
    samples: int


@dataclass(frozen=True, slots=True)
class Rerouting:
    """What became of a dead teacher's requests.

    Attributes:
        routes: the shard's ROUTES with the rows of moved prompts rewritten, in the same order.
        moves: prompts that changed a teacher.
        stranded: requests that nobody else may answer.
    """

    routes: pa.Table
    moves: list[Move]
    stranded: list[Request]


def reroute(
    routes: pa.Table,
    orphans: Sequence[Request],
    living: AbstractSet[str],
    *,
    seed: int,
    fallback: str | None,
    may_answer: MayAnswer,
) -> Rerouting:
    """Draw another teacher for each prompt × dead teacher of which nothing is answered yet.

    Drawn with the route's probabilities over the living teachers that are not drawn for the prompt,
    renormalised; where they have none, the fallback, if it lives and may answer in the language. In
    `drawn` the new teacher takes the dead one's place; its `propensity` is the probability of this
    second draw, given the death; the `router` ends in "+rerouted". `probabilities` stay the
    router's. A draw depends on seed, prompt and dead teacher only.

    Where the dead teacher has answered some samples of a prompt, they stay, it stays drawn, and the
    rest is stranded: so drawn x samples is still what was requested.

    Args:
        routes: ROUTES rows of a shard.
        orphans: requests of dead teachers, each prompt's all in one call.
        may_answer: (teacher, language) -> whether the fallback may answer in it.
    """
    pending: Counter[tuple[str, str]] = Counter()
    for request in orphans:
        pending[request.prompt_id, request.teacher] += len(request.samples)
    prompts = {prompt for prompt, _ in pending}
    rows = routes.to_pylist()
    moves: list[Move] = []
    for row in rows:
        if row["prompt_id"] not in prompts:
            continue
        for place, dead in enumerate(row["drawn"]):
            samples = pending[row["prompt_id"], dead]
            if samples != row["samples"] or dead in living:
                continue
            shares = _shares(row, living, fallback, may_answer)
            if not shares:
                continue
            teacher, propensity = _drawn(
                shares, keys.unit_interval(seed, "reroute", row["prompt_id"], dead)
            )
            row["drawn"][place], row["propensities"][place] = teacher, propensity
            row["router"] = row["router"].removesuffix(REROUTED) + REROUTED
            moves.append(Move(row["prompt_id"], dead, teacher, samples))
    moved = {(move.prompt_id, move.dead) for move in moves}
    stranded = [r for r in orphans if (r.prompt_id, r.teacher) not in moved]
    rewritten = pa.Table.from_pylist(rows, schema=ROUTES) if moves else routes
    return Rerouting(conform(rewritten, ROUTES), moves, stranded)


def _shares(
    row: dict[str, Any],
    living: AbstractSet[str],
    fallback: str | None,
    may_answer: MayAnswer,
) -> list[tuple[str, float]]:
    """(teacher, share) of those that may take a prompt over; none where nobody may."""
    shares = [
        (teacher, share)
        for teacher, share in zip(row["teachers"], row["probabilities"], strict=True)
        if share > 0 and teacher in living and teacher not in row["drawn"]
    ]
    if shares or fallback is None or fallback not in living or fallback in row["drawn"]:
        return shares
    return [(fallback, 1.0)] if may_answer(fallback, row["language"]) else []


def _drawn(shares: Sequence[tuple[str, float]], uniform: float) -> tuple[str, float]:
    """(teacher, its probability among these)."""
    ends = list(accumulate(share for _, share in shares))
    place = min(bisect_right(ends, uniform * ends[-1]), len(shares) - 1)
    teacher, share = shares[place]
    return teacher, share / ends[-1]

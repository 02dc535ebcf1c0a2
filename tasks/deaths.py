"""What becomes of a dead teacher's requests: new routes, written before any is sent by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pyarrow.compute as pc

from arbitrage.infra.generation.death import Deaths, Handed
from arbitrage.infra.generation.requests import plan_requests
from arbitrage.infra.generation.reroute import reroute
from arbitrage.infra.generation.rows import RouteFact, route_facts
from arbitrage.infra.store.deaths import record_deaths
from arbitrage.infra.store.run import Run
from arbitrage.infra.teachers.base import Request
from arbitrage.routers.drawing import admits


def hand_over(
    run: Run,
    shard: int,
    facts: dict[tuple[str, str], RouteFact],
    orphans: Sequence[Request],
    deaths: Deaths,
    *,
    closed: AbstractSet[str] = frozenset(),
) -> Handed:
    """Route a shard's orphaned requests again, where the config allows, and record the deaths.

    Args:
        facts: of the shard's routes; those of new teachers are added.
        closed: teachers that live and are not to be asked any more.
    """
    dead = {request.teacher for request in orphans}
    reasons = {name: death.reason for name, death in deaths.items() if name in dead}
    if not run.config.router.reroute:
        record_deaths(run.folder, shard, reasons, {})
        return Handed([], orphans)
    config, languages = run.config, {t.name: t.languages for t in run.config.teachers}
    routes = run.routes(shard)
    found = reroute(
        routes,
        orphans,
        languages.keys() - deaths.keys() - closed,
        seed=config.run.seed,
        fallback=config.router.fallback,
        may_answer=lambda teacher, language: admits(languages[teacher], language),
    )
    moved = Counter[str]()
    for move in found.moves:
        moved[move.dead] += move.samples
    record_deaths(run.folder, shard, reasons, moved)
    if not found.moves:
        return Handed([], found.stranded)
    run.rewrite_routes(shard, found.routes)
    theirs = found.routes.filter(pc.field("prompt_id").isin([m.prompt_id for m in found.moves]))
    pairs = {(move.prompt_id, move.teacher) for move in found.moves}
    new = route_facts(theirs, config)
    facts.update({pair: new[pair] for pair in pairs})
    asked = plan_requests(run.prompts(shard), theirs, config, set())
    return Handed([r for r in asked if (r.prompt_id, r.teacher) in pairs], found.stranded)

"""Route one shard: which teachers answer each prompt, with which probability."""

from __future__ import annotations

from functools import lru_cache

from arbitrage.infra.generation.estimate import SECONDS_PER_REQUEST, Planner, recorded_tokens
from arbitrage.infra.report.unknown import unknown_rows
from arbitrage.infra.store.run import attach
from arbitrage.routers.drawing import route
from arbitrage.tasks.learning import learned_before
from arbitrage.tasks.policy import unfinished


def route_prompts(uri: str, shard: int) -> None:
    """Draw teachers for a shard's prompts; what has none goes to the graveyard."""
    run = unfinished(uri)
    if not run.is_routed(shard):
        prompts = run.staged_prompts(shard)
        routed = route(prompts, run.config, learned_before(run, shard))
        planner = Planner(run.config, _recorded(uri), SECONDS_PER_REQUEST)
        planner.add(prompts, routed.routes, routed.unroutable.num_rows)
        unknown = unknown_rows(prompts["language"].to_pylist(), routed.unknown)
        run.commit_plan(shard, {**planner.plan().to_json(), "unknown_languages": unknown})
        run.commit_routes(shard, routed.routes, routed.unroutable)


@lru_cache(maxsize=8)
def _recorded(uri: str) -> dict[str, float]:
    """Tokens of a recorded completion by teacher, read once a run."""
    return recorded_tokens(attach(uri).config)

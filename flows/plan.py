"""Arithmetic-free order of a plan: read the prompts, route them, count what would be asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from arbitrage.config import RunConfig
from arbitrage.filters.exact import foreseen
from arbitrage.filters.independence import check_rewards
from arbitrage.infra.generation.estimate import Planner, recorded_tokens
from arbitrage.infra.generation.plan import Plan
from arbitrage.infra.sources import read_prompts, source_options
from arbitrage.routers.drawing import route


def plan_run(config: RunConfig, seconds_per_request: float) -> Plan:
    """Count a run's requests, tokens, cost and time without calling a teacher.

    Draws are seeded by prompt, so the counts are those the run will have; with select.exact they
    are the most it can have, and a router that learns as it goes counts as if it learned nothing.
    """
    check_rewards(config)
    planner = Planner(config, recorded_tokens(config), seconds_per_request)
    languages: Counter[str] = Counter()
    rows, options = config.run.shard_size, source_options(config)
    for chunk in read_prompts(config.prompts, chunk_rows=rows, storage_options=options):
        languages.update(chunk.prompts.column("language").to_pylist())
        routed = route(chunk.prompts, config)
        planner.add(
            chunk.prompts, routed.routes, chunk.graveyard.num_rows + routed.unroutable.num_rows
        )
    plan = planner.plan()
    if config.select.exact is None:
        return plan
    return replace(plan, exact=foreseen(config, languages))

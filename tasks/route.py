"""Route one shard: which teachers answer each prompt, with which probability."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.routers.drawing import route
from arbitrage.tasks.policy import unfinished, worth_retrying


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def route_prompts(uri: str, shard: int) -> None:
    """Draw teachers for a shard's prompts; what has none goes to the graveyard."""
    run = unfinished(uri)
    if not run.is_routed(shard):
        routed = route(run.staged_prompts(shard), run.config)
        run.commit_routes(shard, routed.routes, routed.unroutable)

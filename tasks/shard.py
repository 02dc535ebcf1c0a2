"""Complete one shard: route it, ask its teachers, score their answers."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.tasks.generate import generate_candidates
from arbitrage.tasks.limits import teacher_slots
from arbitrage.tasks.policy import unfinished, worth_retrying
from arbitrage.tasks.route import route_prompts
from arbitrage.tasks.score import score_candidates


@task(
    task_run_name="shard {shard}",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def complete_shard(uri: str, shard: int, teachers: list[str] | None, score: bool) -> None:
    """Route a shard, ask `teachers` (None: all) and, where asked to, score it.

    Each step passes over what the run store already holds, so a retry goes on where it stopped.
    One task and not three: routing takes some hundredths of a second, and a task costs one.
    """
    route_prompts(uri, shard)
    with teacher_slots(asked_teachers(uri, teachers), uri):
        generate_candidates(uri, shard, teachers)
    if score:
        score_candidates(uri, shard)


def asked_teachers(uri: str, wave: list[str] | None) -> list[str]:
    """Names of the teachers that this call may ask."""
    return wave or [teacher.name for teacher in unfinished(uri).config.teachers]

"""Decide shards: verdicts on their scores, and which of the kept candidates are chosen."""

from __future__ import annotations

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.errors import DamagedRunError
from arbitrage.filters.limits import BestSoFar, Limits
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import matched_measures
from arbitrage.filters.selection import (
    decide_table,
    graveyard_rows,
    selection_values,
    weighted_measures,
)
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.progress import board
from arbitrage.infra.report.counts import count_shard
from arbitrage.infra.store.run import Run
from arbitrage.tasks.policy import unfinished, worth_retrying


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def merge_moments(uri: str, shards: int) -> None:
    """Merge the shards' means and variances, which within-language z-scores need."""
    run = unfinished(uri)
    if run.awaits_matching(shards):
        raise DamagedRunError(
            f'the candidates of "{uri}" were not compared with each other.',
            mend="Call match_candidates before deciding.",
        )
    late = set(weighted_measures(run.config)).intersection(matched_measures(run.config))
    merged = Moments.from_json([])
    for shard in range(shards):
        merged = merged.merge(Moments.from_json(run.moments(shard)))
        if late:
            merged = merged.merge(Moments.of(run.scored(shard), sorted(late)))
    run.commit_moments(merged.to_json())


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def find_limits(uri: str, shards: int) -> None:
    """Find where each limited language's best candidates end, over all shards."""
    run = unfinished(uri)
    if run.config.select.limits is None:
        return
    moments, best = Moments.from_json(run.merged_moments()), BestSoFar(run.config)
    for shard in range(shards):
        raise_if_stopping()
        decided = decided_shard(run, shard, moments)
        values = selection_values(decided, run.config, moments)
        best.add(decided, values, decided["chosen"].to_numpy())
    run.commit_limits(best.limits().to_json())


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def decide_candidates(uri: str, shards: list[int]) -> None:
    """Write the shards' candidates with verdicts, and their graveyards, and commit each shard.

    Deciding takes milliseconds a shard, so that a task of its own would cost more than the work.
    """
    run = unfinished(uri)
    moments = Moments.from_json(run.merged_moments())
    limits = Limits.from_json(run.limits())
    for shard in shards:
        raise_if_stopping()
        if not run.is_decided(shard):
            decided = decided_shard(run, shard, moments, limits)
            counts = count_shard(decided, run.unroutable(shard))
            run.commit_decided(shard, decided, graveyard_rows(decided), counts.to_json())
        board.add(shards_decided=1)


def decided_shard(run: Run, shard: int, moments: Moments, limits: Limits | None = None) -> pa.Table:
    """The decision on a scored shard; without `limits` as if no language had one."""
    return decide_table(run.scored(shard), run.config, moments, limits)

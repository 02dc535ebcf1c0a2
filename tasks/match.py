"""Match a run: the one step that sees all its candidates, between scoring and deciding."""

from __future__ import annotations

from typing import cast

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.filters.base import FilterParams
from arbitrage.filters.scoring import filter_columns, run_filters
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store import layout
from arbitrage.tasks.matching import match_stored
from arbitrage.tasks.policy import unfinished, worth_retrying


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def match_candidates(uri: str, shards: int) -> None:
    """Give the scores of filters over the whole run, shard after shard, where they were sketched.

    A finished run that is decided again has the scores already, and then there are no sketches.
    """
    run = unfinished(uri)
    if run.is_matched(shards):
        return
    parts = [layout.sketch_part(shard) for shard in range(shards)]
    sketched = run.sketches.sketched(parts[0]) if parts else set()
    for name in run_filters(run.config):
        if name not in sketched:
            continue
        params = cast("FilterParams", run.config.filter_params[name])
        fields = filter_columns(name, params)
        columns = match_stored(run.sketches, name, params, parts)
        start = 0
        for shard, part in enumerate(parts):
            raise_if_stopping()
            rows = slice(start, start + run.sketches.keys(part).num_rows)
            table = pa.Table.from_arrays(
                [pa.array(columns[f.name][rows], f.type, from_pandas=True) for f in fields],
                schema=pa.schema(fields),
            )
            run.commit_matched(name, shard, table)
            start = rows.stop
    run.mark_matched(shards)

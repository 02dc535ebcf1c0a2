"""Stage the input: read the source once, cut it into shards."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.infra.progress import board
from arbitrage.infra.sources import read_prompts, source_options
from arbitrage.tasks.policy import unfinished, worth_retrying


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def load_prompts(uri: str) -> int:
    """Stage every shard of the source and return their number; staged input is not read again.

    Of an exact run the pieces of its pool are staged instead: which of them become shards is said
    round by round.
    """
    run = unfinished(uri)
    exact = run.config.select.exact is not None
    summary = run.input_summary()
    if summary is None:
        shards = rows = 0
        for chunk in read_prompts(
            run.config.prompts,
            chunk_rows=run.config.run.shard_size,
            storage_options=source_options(run.config),
        ):
            stage = unfinished(uri).pool.stage if exact else unfinished(uri).stage_prompts
            stage(shards, chunk.prompts, chunk.graveyard)
            shards, rows = shards + 1, rows + chunk.rows
        if exact:
            run.pool.commit(shards, run.config.run.seed)
        run.commit_input(shards, rows)
        summary = {"shards": shards, "rows": rows}
    board.add(shards=0 if exact else summary["shards"], prompts=summary["rows"])
    return summary["shards"]

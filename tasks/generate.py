"""Generate one shard: ask the drawn teachers, record every outcome in the journal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.infra.generation.counts import GenerationCounts
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.generation.requests import plan_requests
from arbitrage.infra.generation.rows import generated_rows, route_facts
from arbitrage.infra.interrupt import stop
from arbitrage.infra.progress import board
from arbitrage.infra.store.run import Run
from arbitrage.tasks.policy import unfinished, worth_retrying

_pools: dict[str, TeacherPool] = {}
_lock = threading.Lock()


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def generate_candidates(uri: str, shard: int) -> None:
    """Ask for what the journal does not hold yet; every finished request is recorded at once."""
    run = unfinished(uri)
    if run.is_scored(shard):
        return
    routes = run.routes(shard)
    facts = route_facts(routes, run.config)
    with run.journal(shard) as journal:
        requests = plan_requests(run.prompts(shard), routes, run.config, journal.finished())
        board.add(requested=sum(len(request.samples) for request in requests))
        shared_pool(run).complete(
            requests,
            lambda request, done: journal.record(generated_rows(request, done, facts)),
            stop,
            BoardUpdates(),
        )


class BoardUpdates:
    """Adds the growth of one call's counts to the board, which sums over all shards."""

    def __init__(self) -> None:
        self._finished = self._failed = 0

    def __call__(self, counts: GenerationCounts) -> None:
        finished, failed = counts.finished, counts.failed
        board.add(finished=finished - self._finished, failed=failed - self._failed)
        self._finished, self._failed = finished, failed


def shared_pool(run: Run) -> TeacherPool:
    """The teachers of a run, shared by all its shards in this process."""
    with _lock:
        if run.uri not in _pools:
            _pools[run.uri] = TeacherPool(run.config.teachers)
        return _pools[run.uri]


@contextmanager
def open_teachers(uri: str) -> Iterator[None]:
    """Close the run's teachers in this process when the context ends."""
    try:
        yield
    finally:
        with _lock:
            pool = _pools.pop(uri, None)
        if pool is not None:
            pool.close()

"""Generate one shard: ask the drawn teachers, record every outcome in the journal."""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from arbitrage.infra.generation.budget import Budget
from arbitrage.infra.generation.counts import GenerationCounts
from arbitrage.infra.generation.death import Deaths, Handed
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.generation.purse import Purse
from arbitrage.infra.generation.requests import plan_requests
from arbitrage.infra.generation.rows import generated_rows, route_facts
from arbitrage.infra.generation.shares import divided
from arbitrage.infra.generation.waves import wave_of
from arbitrage.infra.interrupt import stop
from arbitrage.infra.progress import board
from arbitrage.infra.store import layout
from arbitrage.infra.store.raised import spent_by
from arbitrage.infra.store.run import Run
from arbitrage.infra.store.usage import UsageLog, merged_usage, read_usage
from arbitrage.infra.teachers.base import Completion, Request
from arbitrage.tasks.deaths import hand_over
from arbitrage.tasks.policy import unfinished


@dataclass(frozen=True, slots=True)
class Teachers:
    """The teachers of a run in this process, and the log of what they use."""

    pool: TeacherPool
    usage: UsageLog
    purse: Purse
    budget: Budget | None


_opened: dict[str, Teachers] = {}
_lock = threading.Lock()


def generate_candidates(
    uri: str, shard: int, teachers: list[str] | None = None, processes: int = 1
) -> None:
    """Ask for what the journal does not hold yet; every finished request is recorded at once.

    `teachers` are those of one wave (infra/generation/waves.py); None asks all. Of every limit of a
    teacher this process keeps to the share of one of so many `processes`.
    """
    run = unfinished(uri)
    if run.is_scored(shard):
        return
    routes = run.routes(shard)
    facts = route_facts(routes, run.config)
    wave = wave_of(run.config.teachers, teachers)
    with run.journal(shard) as journal:
        planned = plan_requests(run.prompts(shard), routes, run.config, journal.finished())
        requests = [request for request in planned if request.teacher in wave.teachers]
        board.add(requested=sum(len(request.samples) for request in requests))
        opened = shared_teachers(run, processes)

        def keep(request: Request, completions: list[Completion]) -> Awaitable[None] | None:
            opened.usage.record(request, completions)
            return journal.record(generated_rows(request, completions, facts))

        def hand_back(orphans: Sequence[Request], deaths: Deaths) -> Handed:
            handed = hand_over(run, shard, facts, orphans, deaths, closed=wave.over)
            # The others' turn comes in a later wave, which finds them in the new routes.
            now = [r for r in handed.requests if r.teacher in wave.open_to_moves]
            return replace(handed, requests=now)

        try:
            opened.pool.complete(requests, keep, stop, BoardUpdates(), hand_back)
        finally:
            opened.usage.flush()


class BoardUpdates:
    """Adds the growth of one call's counts to the board, which sums over all shards."""

    def __init__(self) -> None:
        self._finished = self._failed = 0

    def __call__(self, counts: GenerationCounts) -> None:
        finished, failed = counts.finished, counts.failed
        board.add(finished=finished - self._finished, failed=failed - self._failed)
        self._finished, self._failed = finished, failed


def shared_teachers(run: Run, processes: int = 1, lent: Budget | None = None) -> Teachers:
    """The teachers of a run, shared by all its shards in this process.

    `lent`: the budget that they are opened with, where it is not this process's own.
    """
    with _lock:
        if run.uri not in _opened:
            budget = lent or Budget.of(run.config.run, spent_before(run))
            pool = TeacherPool(divided(run.config.teachers, processes), budget=budget)
            # What is imported by now outlives the run; each full collection that looked through it
            # would stop the teachers' loop for 100 ms.
            gc.freeze()
            usage = UsageLog(run.folder / layout.USAGE)
            _opened[run.uri] = Teachers(pool, usage, Purse(usage, budget), budget)
        return _opened[run.uri]


@contextmanager
def paying(run: Run) -> Iterator[Purse]:
    """What pays for questions about a run's candidates: out of the budget of its teachers."""
    with _lock:
        opened = _opened.get(run.uri)
    if opened is not None:
        yield opened.purse
        opened.usage.flush()
        return
    with closing(UsageLog(run.folder / layout.USAGE)) as usage:
        yield Purse(usage, Budget.of(run.config.run, spent_before(run)))


def spent_before(run: Run) -> dict[str, float]:
    """What its usage log says that a run has spent of a budget."""
    before = dict((run.carried_planned() or {}).get("usage", {}))
    return spent_by(run.config, merged_usage(before, read_usage(run.folder / layout.USAGE)))


def rest_teachers(uri: str, names: Iterable[str]) -> None:
    """Close these teachers of a run in this process; they open again if they are asked again."""
    with _lock:
        opened = _opened.get(uri)
    if opened is not None:
        opened.pool.rest(names)


@contextmanager
def open_teachers(uri: str) -> Iterator[None]:
    """Close the run's teachers in this process when the context ends."""
    try:
        yield
    finally:
        with _lock:
            teachers = _opened.pop(uri, None)
            if teachers is not None and not _opened:
                gc.unfreeze()
        if teachers is not None:
            try:
                teachers.pool.close()
            finally:
                teachers.usage.close()

"""The process that lends a run's budget out to its shards, and how a shard reaches it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from arbitrage.errors import ArbitrageError
from arbitrage.infra.generation.lender import Lender, Reply, Statement
from arbitrage.infra.generation.lent import LentBudget
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.raised import limits_of, spent_by
from arbitrage.infra.store.run import Run, attach
from arbitrage.infra.store.shard_lock import is_let_go
from arbitrage.infra.store.usage import Mark, used_since
from arbitrage.tasks.cluster.scorers import NAMESPACE
from arbitrage.tasks.generate import shared_teachers, spent_before

# A connection that breaks for a moment; every call may come twice.
_RETRIES = 3


@contextmanager
def budget_lent(run: Run, work_from: str) -> Iterator[str | None]:
    """Start the lender of a run's budget beside this process; the name that shards reach it by.

    None where the run has no budget. It ends with the context, and with it what it knows: what was
    spent is in the usage log.
    """
    given = limits_of(run.config.run)
    limits = {name: limit for name, limit in given.items() if limit is not None}
    if not limits:
        yield None
        return
    import ray  # noqa: PLC0415 - an extra, and slow
    from ray.util.scheduling_strategies import (  # noqa: PLC0415
        NodeAffinitySchedulingStrategy,
    )

    # Of this start alone: that of a flow that was killed may not be gone yet.
    name = f"{run.uri} budget {uuid.uuid4()}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = (
        ray.remote(num_cpus=0, max_restarts=0, max_task_retries=_RETRIES)(RunLender)
        .options(name=name, namespace=NAMESPACE, scheduling_strategy=here)
        .remote(run.uri, limits, spent_before(run), work_from)
    )
    try:
        yield name
    finally:
        ray.kill(actor)


class RunLender(Lender):
    """The lender of one run, which looks into its folder for what the dead have used."""

    def __init__(
        self, uri: str, limits: dict[str, float], before: dict[str, float], work_from: str
    ) -> None:
        if Path(work_from).is_dir():  # the config may name files by relative paths
            os.chdir(work_from)
        run = attach(uri)
        folder = Folder(Path(uri))

        def used(mark: Mark) -> dict[str, float]:
            return spent_by(run.config, used_since(folder / layout.USAGE, mark))

        let_go = partial(is_let_go, folder)
        super().__init__(limits, before, run.config.run.workers, let_go, used)


@contextmanager
def borrowing(run: Run, shard: int, processes: int, lender: str | None) -> Iterator[None]:
    """Within this context this process asks teachers and reward servers with what it is lent.

    Its shard must be held.
    """
    if lender is None:
        yield
        return
    opened = shared_teachers(run, processes, LentBudget(run.config.run))
    budget = cast("LentBudget", opened.budget)
    with budget.borrowing(RemoteLender(lender), shard, opened.usage.mark()):
        yield


class RemoteLender:
    """A Lender in another process, by its name.

    Raises ArbitrageError where it is gone: the run ends then, and can be continued.
    """

    def __init__(self, name: str) -> None:
        import ray  # noqa: PLC0415 - as above

        self._ray = ray
        try:
            self._actor = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise self._gone(error) from error

    def open(self, loan: str, shard: int, mark: Mark) -> Reply:
        return cast("Reply", self._answer(self._actor.open.remote(loan, shard, mark)))

    def exchange(self, loan: str, said: Statement) -> Reply:
        return cast("Reply", self._answer(self._actor.exchange.remote(loan, said)))

    def close(self, loan: str, said: Statement) -> None:
        self._answer(self._actor.close.remote(loan, said))

    def _answer(self, coming: Any) -> Any:
        try:
            return self._ray.get(coming)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> ArbitrageError:
        return ArbitrageError(
            "the process that lends out the run's budget is gone: "
            f"{(str(error).strip() or repr(error)).splitlines()[0]}",
            mend="Run the same command again: what was answered and spent is kept.",
        )

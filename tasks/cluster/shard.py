"""Complete one shard on a node of a cluster, beside nobody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.infra.interrupt import stop
from arbitrage.infra.progress import Snapshot, board
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.s3.notes import noted
from arbitrage.infra.store.shard_lock import shard_held
from arbitrage.tasks.cluster.lending import borrowing
from arbitrage.tasks.cluster.scorers import share_scorers
from arbitrage.tasks.generate import generate_candidates
from arbitrage.tasks.limits import teacher_slots
from arbitrage.tasks.policy import unfinished, worth_retrying
from arbitrage.tasks.route import route_prompts
from arbitrage.tasks.score import score_candidates
from arbitrage.tasks.shard import asked_teachers

_LOOK_S = 0.5


@task(
    task_run_name="shard {shard}",
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def complete_shard_on_node(
    uri: str, shard: int, *, processes: int, work_from: str, lender: str | None, mirrored: bool
) -> dict[str, int]:
    """Route a shard, ask its teachers and score it; what it adds to the board of the run.

    As `complete_shard`, with a lock on the shard: a node that was given up may still be at it.

    Args:
        processes: how many may be at work for this run, to divide its teachers' limits.
        work_from: folder that relative paths in the config start from.
        lender: name of the process that lends out the run's budget, where it has one.
        mirrored: whether the flow's process uploads what is written here.
    """
    if Path(work_from).is_dir():
        os.chdir(work_from)
    folder = Folder(Path(uri))
    with ExitStack() as stack:
        stack.enter_context(stopping_when_told(folder))
        waited = stack.enter_context(shard_held(folder, shard))
        if mirrored:
            stack.enter_context(noted(folder, shard, waited=waited))
        run = unfinished(uri)
        share_scorers(run)
        before = board.read()
        route_prompts(uri, shard)
        stack.enter_context(borrowing(run, shard, processes, lender))
        with teacher_slots(asked_teachers(uri, None), uri):
            generate_candidates(uri, shard, processes=processes)
        score_candidates(uri, shard)
        return counts_since(before)


def counts_since(before: Snapshot) -> dict[str, int]:
    """What this process's board has counted since, by counter."""
    earlier, now = asdict(before), asdict(board.read())
    return {name: now[name] - earlier[name] for name in now if name != "stage"}


def tell_to_stop(folder: Folder) -> None:
    """Ask all processes of a run, wherever they are, to save what they have and end."""
    folder.write_bytes(layout.STOP, b"")


@contextmanager
def stopping_when_told(folder: Folder) -> Iterator[None]:
    """Within this context `stop` is set once the run's folder says so."""
    stop.clear()
    done = threading.Event()

    def watch() -> None:
        while not folder.exists(layout.STOP):
            if done.wait(_LOOK_S):
                return
        stop.set()

    thread = threading.Thread(target=watch, name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

"""The main flow: prompts -> route -> generate -> score -> decide -> views -> publish."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from arbitrage.config import RunConfig
from arbitrage.infra.interrupt import stopping_on_signals
from arbitrage.infra.progress import board
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.tasks.decide import decide_candidates, merge_moments
from arbitrage.tasks.generate import generate_candidates, open_teachers
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.publish import publish_run
from arbitrage.tasks.report import RunProgress, report_run
from arbitrage.tasks.route import route_prompts
from arbitrage.tasks.score import score_candidates
from arbitrage.tasks.views import write_view

_THREADS: TaskRunner[Any] = ThreadPoolTaskRunner()


@flow(
    name="distill",
    description="Route prompts to teachers, steer what is inherited, write training shards.",
    flow_run_name="distill {config.run.name}",
    task_runner=_THREADS,
    persist_result=True,
    result_serializer="json",
)
def distill(config: RunConfig, run_id: str | None = None, new: bool = False) -> str:
    """Run a config from prompts to views and return the run folder.

    An unfinished run of the same config, or the one named by `run_id`, is continued; a finished
    one named by `run_id` is returned as it is; `new` starts afresh.
    """
    board.reset()
    opened = open_run_folder(config, run_id, new=new)
    uri = str(opened.path)
    if opened.how == "finished":
        return uri
    with closing(opened), stopping_on_signals(), open_teachers(uri):
        board.enter("reading prompts")
        shards = load_prompts(uri)
        progress = RunProgress(uri, shards)
        board.enter("generating and scoring")
        complete_shards(uri, shards, config.run.workers, progress)
        board.enter("deciding")
        merge_moments(uri, shards)
        in_window(lambda shard: decide_candidates.submit(uri, shard), shards, config.run.workers)
        board.enter("writing views")
        views = {name: write_view(uri, name, shards) for name in config.views}
        publish_run(uri, shards, views)
        board.enter("finished")
        report_run(uri)
    return uri


def complete_shards(uri: str, shards: int, workers: int, progress: RunProgress) -> None:
    """Route, generate and score every shard, at most `workers` of them at the same time."""

    def submit(shard: int) -> PrefectFuture[None]:
        routed = route_prompts.submit(uri, shard)
        generated = generate_candidates.submit(uri, shard, wait_for=[routed], return_state=False)
        return score_candidates.submit(uri, shard, wait_for=[generated], return_state=False)

    in_window(submit, shards, workers, progress.advance)


def in_window(
    submit: Callable[[int], PrefectFuture[None]],
    shards: int,
    workers: int,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Submit shard after shard with at most `workers` pending, and raise what any of them raised.

    A window, not a map over all shards: thousands of pending task runs destabilise a server.
    """
    pending: deque[PrefectFuture[None]] = deque()
    for shard in range(shards):
        if len(pending) == workers:
            pending.popleft().result()
            done()
        pending.append(submit(shard))
    for future in pending:
        future.result()
        done()

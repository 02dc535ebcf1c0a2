"""The main flow: prompts -> route -> generate -> score -> decide -> views -> publish."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any, cast

from prefect import flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

import arbitrage.flows.credentials  # noqa: F401 - reads run.storage.secret_block
from arbitrage.config import RunConfig
from arbitrage.filters.independence import check_rewards
from arbitrage.filters.scoring import run_filters
from arbitrage.flows.guard import guard
from arbitrage.infra.generation.waves import waves
from arbitrage.infra.interrupt import raise_if_stopping, stop, stopping_on_signals
from arbitrage.infra.progress import board
from arbitrage.infra.report.outcome import Outcome
from arbitrage.infra.store.begin import Opened, open_run_folder
from arbitrage.infra.store.open import open_run
from arbitrage.tasks.decide import decide_candidates, find_limits, merge_moments
from arbitrage.tasks.generate import open_teachers, rest_teachers
from arbitrage.tasks.learning import check_learning, shards_at_once
from arbitrage.tasks.left import left_to_decide, left_to_score
from arbitrage.tasks.match import match_candidates
from arbitrage.tasks.matching import check_earlier
from arbitrage.tasks.parent import remember_parent
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.publish import publish_run
from arbitrage.tasks.report import RunProgress, report_run
from arbitrage.tasks.rounds import stage_round
from arbitrage.tasks.running import Pending, SubmitShard, check_runner, shards_submitted
from arbitrage.tasks.states import end_state
from arbitrage.tasks.views import write_view

Submit = Callable[[int], Pending]

_THREADS: TaskRunner[Any] = ThreadPoolTaskRunner()
_DECIDED_AT_ONCE = 10


@flow(
    name="distill",
    description="Route prompts to teachers, steer what is inherited, write training shards.",
    flow_run_name="distill {config.run.name}",
    task_runner=_THREADS,
    persist_result=True,
    result_serializer="json",
)
def distill(config: RunConfig, run_id: str | None = None, new: bool = False) -> str:
    """Run a config from prompts to views and return the run folder, or its place in a store.

    An unfinished run of the same config, or the one named by `run_id`, is continued; a finished
    one named by `run_id` is returned as it is; `new` starts afresh.

    Args:
        config: The run, key by key as in run.toml.
        run_id: Name of the run folder; continues it. Default: run.name and the time.
        new: Start afresh, whatever unfinished run of this config there is.
    """
    guard(config, run_id)
    board.reset()
    board.enter("opening the run folder")
    opened = open_run_folder(config, run_id, new=new)
    uri = str(opened.path)
    if opened.how == "finished":
        return _ended(opened)
    with closing(opened), stopping_on_signals(), open_teachers(uri), RunProgress(uri) as progress:
        raise_if_stopping()
        check_earlier(config)
        check_learning(config)
        check_runner(config)
        check_rewards(config)
        board.enter("reading prompts")
        shards = load_prompts(uri)
        remember_parent(uri, shards)
        if config.select.exact is not None:
            with shards_submitted(config, uri) as submit:
                shards = complete_rounds(config, uri, progress, submit)
        else:
            progress.expect(shards)
            board.enter("generating and scoring")
            with shards_submitted(config, uri) as submit:
                complete_shards(config, uri, range(shards), progress, submit)
            see_the_whole(config, uri, shards)
        board.enter("deciding")
        if config.select.limits is not None:
            find_limits(uri, shards)
        decide_shards(uri, shards, config.run.workers)
        board.enter("writing views")
        views = {name: write_view(uri, name, shards) for name in config.views}
        publish_run(uri, shards, views)
        opened.publish()
        board.enter("finished")
        report_run(uri, opened.address)
        progress.finish(Outcome.of(open_run(uri).manifest))
    return _ended(opened)


def _ended(opened: Opened) -> str:
    # Prefect takes a returned state as the flow's own and gives callers what is in it: the folder.
    # The place and not its address, which does not say how the store is reached ([run.storage]).
    manifest = open_run(opened.place or opened.path).manifest
    return cast(str, end_state(opened.address, manifest))


def complete_rounds(config: RunConfig, uri: str, progress: RunProgress, submit: SubmitShard) -> int:
    """Complete round after round of an exact run until nothing more is to be asked.

    Returns the number of shards of all rounds; the last one's hold what was never asked.
    """
    for number in count():
        asked = stage_round(uri, number)
        shards = range(asked["first"], asked["first"] + asked["shards"])
        progress.expect(len(shards))
        board.enter("generating and scoring")
        complete_shards(config, uri, shards, progress, submit)
        see_the_whole(config, uri, shards.stop)
        if asked["over"]:
            break
    return shards.stop


def see_the_whole(config: RunConfig, uri: str, shards: int) -> None:
    """The steps between scoring and deciding that need every shard's scores."""
    if run_filters(config):
        board.enter("matching")
        match_candidates(uri, shards)
    merge_moments(uri, shards)


def complete_shards(
    config: RunConfig, uri: str, shards: range, progress: RunProgress, submit: SubmitShard
) -> None:
    """Route, generate and score these shards, at most `workers` of them at the same time, and no
    more than a router that learns as it goes has room for.

    Teachers that need a device for themselves take turns: all shards ask the first, then its server
    stops and all ask the next. A shard is scored once its last teacher has answered. One that is
    scored already, in a run that is continued, costs no task.
    """
    left = left_to_score(uri, shards)
    progress.pass_over(len(shards) - len(left))
    *earlier, last = waves(config.teachers)
    workers = shards_at_once(config)

    def completing(teachers: list[str] | None, *, score: bool) -> Submit:
        return lambda index: submit(left[index], teachers, score)

    for wave in earlier:
        in_window(completing(list(wave.teachers), score=False), len(left), workers)
        rest_teachers(uri, wave.exclusive)
    names = list(last.teachers) if earlier else None
    in_window(completing(names, score=True), len(left), workers, progress.advance)
    rest_teachers(uri, last.exclusive)


def decide_shards(uri: str, shards: int, workers: int) -> None:
    """Decide every shard that is not decided yet, some of them a task."""
    left = left_to_decide(uri, range(shards))
    starts = range(0, len(left), _DECIDED_AT_ONCE)
    batches = [left[start : start + _DECIDED_AT_ONCE] for start in starts]
    in_window(lambda i: decide_candidates.submit(uri, batches[i]), len(batches), workers)


def in_window(
    submit: Submit,
    shards: int,
    workers: int,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Submit shard after shard with at most `workers` pending, and raise what any of them raised.

    A window, not a map over all shards: thousands of pending task runs destabilise a server.
    """
    pending: deque[Pending] = deque()
    try:
        for shard in range(shards):
            pending.append(submit(shard))
            if len(pending) == workers:
                pending[0].result()
                pending.popleft()
                done()
        while pending:
            pending[0].result()
            pending.popleft()
            done()
    except BaseException:
        # The other shards save what they have before their teachers are closed.
        stop.set()
        for future in pending:
            future.wait()
        raise

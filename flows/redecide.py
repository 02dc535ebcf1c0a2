"""Decide a finished run again from its stored scores, beside it or in place. No generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from arbitrage.config import RunConfig, load_config, parse_config
from arbitrage.filters.independence import check_rewards
from arbitrage.infra.store import FinishedRun, layout, open_run
from arbitrage.infra.store.again import begin_again, check_same_generation, stage_shard
from arbitrage.infra.store.deaths import carry_deaths
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.run import Run
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.swap import replace_decisions
from arbitrage.tasks.decide import decide_candidates, find_limits, merge_moments
from arbitrage.tasks.match import match_candidates
from arbitrage.tasks.parent import remember_parent
from arbitrage.tasks.publish import publish_run
from arbitrage.tasks.score import commit_scores
from arbitrage.tasks.views import write_view


def redecide(
    run: str | Path | S3Place,
    config: Path | None = None,
    overrides: Iterable[str] = (),
    *,
    in_place: bool = False,
    run_id: str | None = None,
    retry_unanswered: bool = False,
) -> Path | S3Place:
    """Decide `run` again with a new config (default: its own) and overrides; returns where it is.

    Only filters, selection and views may differ: ConfigError where the new config asks for other
    prompts, teachers, routing or samples. A filter that was not measured before is measured now,
    from the stored texts. Runs without Prefect: nothing is sent, nothing needs watching.

    With `retry_unanswered` the servers of rewards are asked again about the candidates they left
    without a score (unanswered, budget_spent), each question once, also after a kill of this: what
    they answer lies in the finished run's folder, whose writer this is meanwhile.
    """
    finished = open_run(run)
    wanted = (
        parse_config(finished.manifest["config"], overrides, origin=f"{run}/manifest.json")
        if config is None
        else load_config(config, overrides)
    )
    check_same_generation(finished, wanted)
    check_rewards(wanted)
    opened = begin_again(finished, wanted, run_id=run_id, in_place=in_place)
    with closing(opened), _writing(finished, retry_unanswered and not in_place):
        path = decide_again(finished, opened.run, retry_unanswered=retry_unanswered)
        if in_place:
            replace_decisions(finished.folder, path)
            return finished.path
        opened.publish()
    return opened.place or opened.path


@contextmanager
def _writing(finished: FinishedRun, needed: bool) -> Iterator[None]:
    """Be the finished run's only writer, where that is needed."""
    if not needed:
        yield
        return
    lock = RunLock(finished.folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def decide_again(finished: FinishedRun, run: Run, *, retry_unanswered: bool = False) -> Path:
    """The steps after generation, in order, over the finished run's shards."""
    config: RunConfig = run.config
    carried: dict[str, Any] = {"plan": {}, "usage": {}, "unknown_languages": []}
    run.carry_planned({name: finished.manifest.get(name, none) for name, none in carried.items()})
    earlier = finished.manifest.get("parent")
    if earlier is not None and finished.manifest["config"].get("parent") == config.resolved().get(
        "parent"
    ):
        run.commit_parent(earlier)
    carry_deaths(run.folder, finished.manifest.get("deaths", []))
    for shard in range(finished.shards):
        stage_shard(finished, run, shard)
        candidates, details = finished.table("candidates", shard), finished.failure_details(shard)
        again = finished.folder / layout.unanswered(shard) if retry_unanswered else None
        commit_scores(run, shard, candidates, details, again)
    remember_parent(run.uri, finished.shards)
    match_candidates.fn(run.uri, finished.shards)
    merge_moments.fn(run.uri, finished.shards)
    find_limits.fn(run.uri, finished.shards)
    decide_candidates.fn(run.uri, list(range(finished.shards)))
    views = {name: write_view.fn(run.uri, name, finished.shards) for name in config.views}
    publish_run.fn(run.uri, finished.shards, views)
    return Path(run.uri)

"""Write one view of a run: decided candidates in a trainer's columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage import registry
from arbitrage.filters.moments import Moments
from arbitrage.filters.trust import trusted_values
from arbitrage.infra.store import layout
from arbitrage.infra.store.run import Run
from arbitrage.infra.views.base import Rewards, View
from arbitrage.infra.views.saved import save_view
from arbitrage.infra.views.summary import Summary
from arbitrage.infra.views.units import reads_units
from arbitrage.tasks.parent import older_candidates
from arbitrage.tasks.policy import unfinished, worth_retrying


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def write_view(uri: str, name: str, shards: int) -> dict[str, Any]:
    """Write a view as `datasets.save_to_disk` would; returns its rows, files and summary."""
    run = unfinished(uri)
    view = settled_view(run, registry.views.get(name).plugin(run.config.view_params[name]), shards)
    folder = f"{layout.VIEWS}/{name}"
    summary = Summary()
    tables = summary.watched(view_tables(run, view, shards))
    saved = save_view(tables, view.schema, run.folder / folder)
    return saved.to_json(prefix=folder) | {"summary": summary.to_json(), **view.facts()}


def settled_view(run: Run, view: View, shards: int) -> View:
    """The view once it has seen all shards, where it has to."""
    if not view.surveys:
        return view
    return view.settled(view.survey(*decided) for decided in rewarded(run, view, shards))


def view_tables(run: Run, view: View, shards: int) -> Iterator[pa.Table]:
    """The view's rows, shard after shard."""
    for shard, (decided, rewards) in enumerate(rewarded(run, view, shards)):
        yield view.rows(run.prompts(shard), decided, rewards)


def rewarded(run: Run, view: View, shards: int) -> Iterator[tuple[pa.Table, Rewards | None]]:
    """Each shard's decided candidates and their rewards, None where nothing ranks them."""
    reward = view.params.reward or run.config.select.objective
    moments = Moments.from_json(run.merged_moments())
    older = older_candidates(run) if view.params.reads_parent else None
    alone = reads_units(view)
    instead = run.config.rewards.instead if run.config.rewards else []
    for shard in range(shards):
        decided = run.decided(shard)
        if older is not None:
            decided = older.beside(decided, [reward, *instead], moments)
        yield (
            decided,
            trusted_values(decided, run.config, reward, moments, alone=alone) if reward else None,
        )

"""Publish a run: totals, dataset card, report, and last the manifest that commits it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.infra.generation.plan import Plan
from arbitrage.infra.report.card import render_card
from arbitrage.infra.report.counts import Counts, merged
from arbitrage.infra.report.html import render_report
from arbitrage.infra.report.limits import limit_rows
from arbitrage.infra.report.planned import usage_totals
from arbitrage.infra.report.unknown import merged_unknown
from arbitrage.infra.store import layout
from arbitrage.infra.store.publish import (
    commit_manifest,
    manifest_content,
    routed_by_language,
    run_totals,
)
from arbitrage.infra.store.run import Run
from arbitrage.infra.store.usage import merged_usage, read_usage
from arbitrage.tasks.policy import unfinished, worth_retrying
from arbitrage.tasks.trust import reward_content, unscored_causes


@task(
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=True,
    result_serializer="json",
)
def publish_run(uri: str, shards: int, views: dict[str, Any]) -> None:
    """Commit a run whose shards are decided and whose views are written."""
    run = unfinished(uri)
    commits: list[dict[str, Any]] = []
    counts = merged(_kept_but_for_counts(run.commits(shards), commits))
    planned = carried_and_used(run) or planned_and_used(run, shards)
    asked = routed_by_language(run, shards)
    totals = run_totals(run, shards, counts, sum(asked.values()))
    totals = usage_totals(totals, planned["usage"])
    content = manifest_content(run, commits, views, counts.to_json(), totals) | planned
    content["limits"] = limit_rows(run.config.select, run.limits(), asked, counts)
    content["rewards"] = {
        **reward_content(run.config, counts),
        "unscored": unscored_causes(run, shards),
    }
    texts = {
        layout.CARD: render_card(run.folder.root, content),
        layout.REPORT: render_report(run.folder.root, content),
    }
    commit_manifest(run.folder, content, texts)


def _kept_but_for_counts(
    commits: Iterable[dict[str, Any]], kept: list[dict[str, Any]]
) -> Iterator[Counts]:
    """The counts of each commit; what else it says is added to `kept`.

    A shard's counts by language, teacher and reason take some 50 kB: with 100,000 shards, too much.
    """
    for commit in commits:
        yield Counts.from_json(commit.pop("counts"))
        kept.append(commit)


def carried_and_used(run: Run) -> dict[str, Any] | None:
    """What was taken over from the run that is decided again, with what deciding used."""
    carried = run.carried_planned()
    if carried is None:
        return None
    used = read_usage(run.folder / layout.USAGE)
    return {**carried, "usage": merged_usage(carried.get("usage", {}), used)}


def planned_and_used(run: Run, shards: int) -> dict[str, Any]:
    """What the shards were expected to ask of each teacher, what was used, and in which languages
    the router had nothing to go by."""
    plan, rows = Plan(), []
    for part in run.plans(shards):
        # Absent where a run of an earlier version is continued.
        rows.append(part.pop("unknown_languages", []))
        plan += Plan.from_json(part)
    unknown = merged_unknown(rows)
    usage = read_usage(run.folder / layout.USAGE)
    return {"plan": plan.to_json(), "usage": usage, "unknown_languages": unknown}

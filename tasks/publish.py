"""Publish a run: totals, dataset card, report, and last the manifest that commits it."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from arbitrage.infra.report.card import render_card
from arbitrage.infra.report.counts import Counts, merged
from arbitrage.infra.report.html import render_report
from arbitrage.infra.store import layout
from arbitrage.infra.store.publish import commit_manifest, manifest_content, run_totals
from arbitrage.tasks.policy import unfinished, worth_retrying


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
    commits = list(run.commits(shards))
    counts = merged(Counts.from_json(commit["counts"]) for commit in commits)
    totals = run_totals(run, shards, counts)
    content = manifest_content(run, commits, views, counts.to_json(), totals)
    texts = {
        layout.CARD: render_card(run.folder.root, content),
        layout.REPORT: render_report(run.folder.root, content),
    }
    commit_manifest(run.folder, content, texts)

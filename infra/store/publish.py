"""The last step of a run: everything it is goes into the manifest, then the work folder goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

import arbitrage
from arbitrage import registry
from arbitrage.config import RunConfig
from arbitrage.infra.report.counts import Counts
from arbitrage.infra.report.parts import batches
from arbitrage.infra.store import layout
from arbitrage.infra.store.deaths import told_deaths
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import write_manifest
from arbitrage.infra.store.raised import goes_on
from arbitrage.infra.store.run import Run
from arbitrage.registry import params_hash

_PACKAGES = (
    "prefect",
    "datasets",
    "pyarrow",
    "polars",
    "fasttext-numpy2",
    "icu4py",
    "httpx",
    "numpy",
    "rensa",
)


def manifest_content(
    run: Run,
    commits: list[dict[str, Any]],
    views: Mapping[str, Any],
    counts: Mapping[str, Any],
    totals: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of a finished run, less its own hash.

    Args:
        commits: per shard, its files with rows, bytes and sha256.
        views: per view, its rows and files.
        counts: by language, teacher and reason.
        totals: over the whole run, the names `arbitrage verify` prints and tokens and cost.
    """
    config = run.config
    return {
        "run_id": run.run_id,
        "name": config.run.name,
        "seed": config.run.seed,
        "config": config.resolved(),
        "config_identity": config.identity,
        "code_version": arbitrage.__version__,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "teachers": [
            {
                "name": teacher.name,
                "backend": teacher.backend,
                "model": teacher.model or teacher.name,
                "precision": teacher.precision,
                "identity": teacher.identity,
                "params_hash": teacher.params_hash,
            }
            for teacher in config.teachers
        ],
        "router": _router(config),
        "filters": {
            name: {"filter": registry.filters.get(name).identity, "params": params_hash(params)}
            for name, params in config.filter_params.items()
        },
        "shards": [{"shard": item["shard"], "files": item["files"]} for item in commits],
        "views": dict(views),
        "counts": dict(counts),
        "totals": dict(totals),
        "deaths": told_deaths(run.folder, counts),
        "decided_from": run.decided_from,
        "parent": run.parent(),
        "continued": run.continued,
        "started_at": run.started_at,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit_manifest(folder: Folder, content: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Write the readable files, then the manifest, then drop what only an unfinished run needs.

    A run that its budget ended keeps that: with a larger one it goes on.
    """
    for name, text in texts.items():
        folder.write_bytes(name, text.encode("utf-8", "replace"))
    write_manifest(folder, content)
    if not goes_on(content):
        folder.remove(layout.WORK)
    folder.remove_temporaries()


def _router(config: RunConfig) -> dict[str, Any]:
    entry = registry.routers.get(config.router.kind)
    return {
        "router": entry.identity,
        "params": config.router.params.model_dump(mode="json"),
        "artefact_sha256": getattr(config.router.params, "artefact_sha256", None),
    }


def run_totals(run: Run, shards: int, counts: Counts, routed: int) -> dict[str, Any]:
    """The run's totals: the names `arbitrage verify` prints, and tokens and cost where known.

    Args:
        counts: of the whole run; routed: its routed prompts.
    """
    cell, unroutable = counts.total(), counts.unroutable_total.prompts
    return {
        "prompts": routed + unroutable,
        "unroutable": unroutable,
        "requested": cell.requested,
        "candidates": cell.kept + cell.rejected + cell.failed,
        "kept": cell.kept,
        "rejected": cell.rejected,
        "failed": cell.failed,
        "chosen": cell.chosen,
        **_used(run, shards),
    }


def _used(run: Run, shards: int) -> dict[str, int | float]:
    """Tokens and cost, summed over all candidates."""
    tokens = ("prompt_tokens", "completion_tokens")
    summed: dict[str, int | float] = {**dict.fromkeys(tokens, 0), "cost_usd": 0.0}
    for paths in shard_files(run, "candidates", shards):
        columns = [pl.col(*tokens).cast(pl.Int64), pl.col("cost_usd").cast(pl.Float64)]
        found = pl.scan_ipc(paths).select(columns).sum().collect().row(0, named=True)
        for name in summed:
            summed[name] += found[name]
    return summed


def routed_by_language(run: Run, shards: int) -> dict[str, int]:
    """language -> prompts that were routed."""
    found: Counter[str] = Counter()
    for paths in shard_files(run, "prompts", shards):
        counted = pl.scan_ipc(paths).group_by("language").len().collect()
        found.update(dict(counted.iter_rows()))
    return dict(sorted(found.items()))


def shard_files(run: Run, kind: str, shards: int) -> Iterator[list[Path]]:
    """The files of one kind, some shards at a time."""
    return batches([run.folder / layout.part(kind, shard) for shard in range(shards)])

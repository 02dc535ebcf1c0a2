"""What a run's manifest says of its rewards: who decided where, who evaluated, with what doubts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage import registry
from arbitrage.config import RunConfig, parse_config
from arbitrage.config.rewards import reward_filters
from arbitrage.filters.asking import ServerParams
from arbitrage.filters.independence import cast_of, family_flags
from arbitrage.filters.trust import may_teach, reward_uses, rulings_of
from arbitrage.infra.report.counts import NO_LANGUAGE, Counts
from arbitrage.infra.store import FinishedRun
from arbitrage.infra.store.publish import shard_files
from arbitrage.infra.store.run import Run
from arbitrage.infra.views.units import reads_units


def reward_content(config: RunConfig, counts: Counts) -> dict[str, Any]:
    """The manifest's `rewards`, JSON-like: `audit`, `floor`, `uses` (see `rulings_of`, with
    `unranked`: kept candidates that nothing ordered), `models` and `flags`."""
    given = config.rewards
    tags = [tag for tag in counts.languages if tag != NO_LANGUAGE]
    uses = rulings_of(config, tags, _alone(config))
    for use in uses:
        for tag, found in use["languages"].items():
            kept = counts.total(language=tag).kept
            found["unranked"] = kept if found["used"] is None else 0
    audited = given.audited if given else None
    return {
        "audit": [
            {"path": path, "sha256": checksum}
            for path, checksum in zip(audited.paths, audited.sha256, strict=True)
        ]
        if audited
        else [],
        "floor": given.floor if given and audited else None,
        "uses": uses,
        "models": cast_of(config).to_json(),
        "flags": [*_never_audited(config), *family_flags(config)],
    }


def unscored_causes(run: Run, shards: int) -> dict[str, dict[str, int]]:
    """Filter that asks a server -> cause -> candidates without a whole score for that cause."""
    names = [
        n for n, params in run.config.filter_params.items() if isinstance(params, ServerParams)
    ]
    if not names:
        return {}
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    for paths in shard_files(run, "candidates", shards):
        frame = pl.scan_ipc(paths)
        for name, causes in found.items():
            column = pl.col(f"{name}.cause").alias("cause")
            counted = frame.select(column).drop_nulls().group_by("cause").len().collect()
            causes.update(dict(counted.iter_rows()))
    # The most frequent first.
    return {name: dict(causes.most_common()) for name, causes in found.items() if causes}


def may_be_learned(run: FinishedRun, table: pa.Table, objective: str) -> pa.Table:
    """A run's reward log with null for the reward where the run's audit lets it teach no router."""
    if "rewards" not in run.manifest["config"]:
        return table
    config = parse_config(run.manifest["config"], (), origin=f"{run.path}/manifest.json")
    reward = objective if ":" in objective else f"maximize:{objective}"
    silent = pa.array(~may_teach(table, config, reward))
    at = table.column_names.index("reward")
    rewards = pc.if_else(silent, pa.scalar(None, pa.float64()), table["reward"])
    return table.set_column(at, "reward", rewards)


def _alone(config: RunConfig) -> list[str]:
    """Views in which nothing stands in for the reward."""
    built = {
        name: registry.views.get(name).plugin(params) for name, params in config.view_params.items()
    }
    return [f"views.{name}" for name, view in built.items() if reads_units(view)]


def _never_audited(config: RunConfig) -> list[dict[str, str]]:
    """A model's opinion decides, and nobody has looked whether it is right in any language."""
    if config.rewards is not None and config.rewards.audited is not None:
        return []
    models = {item.name.removeprefix("filters.") for item in cast_of(config).choosing}
    told = [
        f"{where} ({', '.join(reward_filters(reward))})"
        for where, reward in reward_uses(config).items()
        if models.intersection(reward_filters(reward))
    ]
    if not told:
        return []
    says = (
        f"what decides in {'; '.join(told)} was never audited: how often it is right in each "
        "language is not known. See docs/reward-audit.md."
    )
    return [{"kind": "no_audit", "says": says}]

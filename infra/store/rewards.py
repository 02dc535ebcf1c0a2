"""A finished run as a reward log: what each teacher's answers to a prompt were worth."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from arbitrage.config.coherence import objective_measures
from arbitrage.errors import ConfigError, unknown_name
from arbitrage.infra.store.open import FinishedRun
from arbitrage.schema import asked_texts

_READ = ["prompt_id", "language", "task", "source", "messages"]
_TEXTS = ("prompt_id", "language", "prompt", "task", "source", "teacher")
_COLUMNS = pa.schema([*((name, pa.string()) for name in _TEXTS), ("reward", pa.float64())])


def reward_of(run: FinishedRun) -> str | None:
    """The objective a run itself went by: its router's reward, else what it chose by."""
    config: dict[str, Any] = run.manifest["config"]
    given = config["router"].get("reward") or config["select"].get("objective")
    return given if isinstance(given, str) else None


def reward_table(run: FinishedRun, objective: str) -> pa.Table:
    """One row a prompt and teacher asked, with the columns of a reward log.

    The reward is the mean of a measure over the samples that have one, kept or not, with its sign
    turned where the objective minimises; null where no sample has one.

    Args:
        objective: "maximize:FILTER.MEASURE", "minimize:..." or the measure alone, to maximise.

    Raises ConfigError where the run has no such measure.
    """
    objective = objective if ":" in objective else f"maximize:{objective}"
    try:
        (measure,) = objective_measures(objective)
    except ValueError as error:
        raise ConfigError(f"{error}", mend="Name one measure.") from None
    known = [name for name, kind in run.candidates.collect_schema().items() if _scored(name, kind)]
    if measure not in known:
        raise unknown_name("measure of this run", measure, known)
    value = pl.col(measure).cast(pl.Float64).mean()
    rewards = (
        run.candidates.group_by("prompt_id", "teacher")
        .agg(-value if objective.startswith("minimize:") else value)
        .rename({measure: "reward"})
    )
    shards = range(run.shards)
    asked = pa.concat_tables([run.table("prompts", shard).select(_READ) for shard in shards])
    texts = pa.array(asked_texts(asked["messages"]), pa.string())
    prompts = pl.from_arrow(asked.drop_columns("messages").append_column("prompt", texts))
    assert isinstance(prompts, pl.DataFrame)
    joined = rewards.join(prompts.lazy(), on="prompt_id").sort("prompt_id", "teacher")
    return joined.select(_COLUMNS.names).collect().to_arrow().cast(_COLUMNS)


def _scored(name: str, kind: pl.DataType) -> bool:
    return "." in name and kind == pl.Float32

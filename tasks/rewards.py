"""The reward log of finished runs: one row a prompt and teacher, from the stored scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from arbitrage.config import RunConfig
from arbitrage.filters.moments import Moments
from arbitrage.filters.selection import objective_values
from arbitrage.filters.trust import may_teach
from arbitrage.infra.store import FinishedRun
from arbitrage.infra.store.usage import spent
from arbitrage.schema import asked_texts

Reward = str | dict[str, float]


def reward_log_table(
    runs: Mapping[str, FinishedRun],
    reward: Reward,
    *,
    rejected_reward: float | None = None,
    config: RunConfig | None = None,
) -> pa.Table:
    """prompt_id, language, prompt, task, source, teacher, reward, drawn (the run's key), n_samples.

    The reward of a teacher is the mean over its measured samples; null where there is none: every
    request failed, or the measure abstained. A table of weights is of z-scores within a language
    over all these runs together.

    Args:
        rejected_reward: the reward of an answer that the filters rejected; None = as measured.
        config: whose [rewards] says in which languages the reward may teach; null elsewhere.
    """
    parts = [
        (drawn, opened.table("prompts", shard), opened.table("candidates", shard))
        for drawn, opened in runs.items()
        for shard in range(opened.shards)
    ]
    moments = None
    if isinstance(reward, dict):
        moments = Moments()
        for _, _, candidates in parts:
            moments = moments.merge(Moments.of(candidates, list(reward)))
    frames = [
        _rewards(
            drawn,
            prompts,
            candidates,
            reward,
            moments,
            rejected_reward=rejected_reward,
            config=config,
        )
        for drawn, prompts, candidates in parts
    ]
    return pl.concat(frames).sort("prompt_id", "teacher").to_arrow()


def _rewards(
    drawn: str,
    prompts: pa.Table,
    candidates: pa.Table,
    reward: Reward,
    moments: Moments | None,
    *,
    rejected_reward: float | None,
    config: RunConfig | None,
) -> pl.DataFrame:
    values = objective_values(candidates, reward, moments)
    failed = candidates["error"].is_valid().to_numpy()
    kept = candidates["kept"].to_numpy()
    if rejected_reward is not None:
        values = np.where(kept, values, rejected_reward)
    values = np.where(failed, np.nan, values)
    if config is not None:
        values = np.where(may_teach(candidates, config, reward), values, np.nan)
    asked = pl.DataFrame(
        {
            "prompt_id": prompts["prompt_id"].to_pylist(),
            "prompt": asked_texts(prompts["messages"]),
            "task": pl.Series(prompts["task"].to_pylist(), dtype=pl.String),
            "source": pl.Series(prompts["source"].to_pylist(), dtype=pl.String),
        }
    )
    rows = pl.DataFrame(
        {
            "prompt_id": candidates["prompt_id"].to_pylist(),
            "language": candidates["language"].to_pylist(),
            "teacher": candidates["teacher"].to_pylist(),
            "reward": values,
        },
        schema_overrides={"prompt_id": pl.String, "language": pl.String, "teacher": pl.String},
    ).with_columns(pl.col("reward").fill_nan(None))
    means = rows.group_by("prompt_id", "language", "teacher", maintain_order=True).agg(
        pl.col("reward").mean(), n_samples=pl.col("reward").count()
    )
    texts = ("prompt_id", "language", "prompt", "task", "source", "teacher")
    columns = (*texts, "reward", "drawn", "n_samples")
    return means.join(asked, on="prompt_id").with_columns(drawn=pl.lit(drawn)).select(columns)


def used_of(runs: Sequence[FinishedRun]) -> dict[str, float]:
    """What runs used of a budget: usd, tokens, requests."""
    used = [spent(run.manifest.get("usage", {})) for run in runs]
    return {name: sum(one[name] for one in used) for name in spent({})}

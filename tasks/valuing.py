"""A finished run's log as off-policy evaluation reads it: old draws and rewards, a new router."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.config import RunConfig, parse_config
from arbitrage.config.coherence import measured_columns, objective_measures
from arbitrage.config.model import RouterConfig
from arbitrage.errors import ConfigError, RouterError, unknown_name
from arbitrage.filters.selection import objective_values
from arbitrage.infra.generation.reroute import REROUTED
from arbitrage.infra.store import FinishedRun
from arbitrage.routers.artefact import CARD
from arbitrage.routers.drawing import masked_probabilities, prompt_batch
from arbitrage.routers.fit import TABLE
from arbitrage.routers.off_policy import LoggedRun

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """A run as a log, and what was left out of it, a sentence each."""

    log: LoggedRun
    notes: tuple[str, ...]


def logged_run(
    run: FinishedRun, artefact: Path, reward: str, *, null_reward: float | None = None
) -> Logged:
    """Read a run's draws and rewards, and ask the router of `artefact` about its prompts.

    The reward of a prompt and teacher is the mean over samples. A prompt whose drawn teacher has no
    reward (it failed, the filter abstained) is left out, unless `null_reward` stands for it; so is
    one that a dead teacher's requests were moved for, whose propensity holds given the death.

    Args:
        reward: FILTER.MEASURE (more is better), or "minimize:FILTER.MEASURE".

    Raises UnknownNameError for a measure the run does not have; RouterError for an artefact that
    does not fit its pool; ConfigError where nothing is left.
    """
    config = parse_config(run.manifest["config"], (), origin=f"{run.path}/manifest.json")
    objective = reward if ":" in reward else f"maximize:{reward}"
    try:
        (measure,) = objective_measures(objective)
    except ValueError as error:
        raise ConfigError(f"{error}", mend="Fix --reward.") from None
    if measure not in measured_columns(config):
        raise unknown_name(
            "measure of this run", measure, measured_columns(config), mend="Fix --reward."
        )
    other = _with_router(config, artefact)
    parts, moved, silent = [], 0, 0
    for shard in range(run.shards):
        part = _shard(run, shard, config, other, objective=objective, null_reward=null_reward)
        moved, silent = moved + part[1], silent + part[2]
        parts.append(part[0])
    notes = []
    if silent:
        notes.append(f"{silent:,} prompts without a reward are left out")
    if moved:
        notes.append(f"{moved:,} prompts of dead teachers, asked of others, are left out")
    log = LoggedRun(
        [tag for part in parts for tag in part.languages],
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rewards", "propensities", "old", "new")
        ),
    )
    return Logged(log, tuple(notes))


def _with_router(config: RunConfig, artefact: Path) -> RunConfig:
    """The run's config with the artefact's router in it, and the old fallback."""
    try:
        kind = orjson.loads((artefact / CARD).read_bytes())["kind"]
        section: dict[str, Any] = {"kind": kind, "artefact": str(artefact)}
        if kind == "fixed":
            section = tomllib.loads((artefact / TABLE).read_text(encoding="utf-8"))["router"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RouterError(
            f'there is no router artefact at "{artefact}": {error!r}.',
            mend="Name the folder that `arbitrage router fit -o` wrote.",
        ) from None
    router = RouterConfig.model_validate({**section, "fallback": config.router.fallback})
    return config.model_copy(update={"router": router})


def _shard(
    run: FinishedRun,
    shard: int,
    config: RunConfig,
    other: RunConfig,
    *,
    objective: str,
    null_reward: float | None,
) -> tuple[LoggedRun, int, int]:
    """One shard as a log, and how many of its prompts were moved, and have no reward."""
    routes, candidates = run.table("routes", shard), run.table("candidates", shard)
    batch = prompt_batch(run.table("prompts", shard))
    names = [teacher.name for teacher in config.teachers]
    new = masked_probabilities(batch, other)
    old = _rows(routes, "teachers", "probabilities", names)
    shares = _rows(routes, "drawn", "propensities", names)
    rewards = _rewards(candidates, batch.prompt_ids, names, objective, null_reward)
    rewards[~(shares > 0)] = np.nan
    moved = pc.ends_with(routes["router"], REROUTED).to_numpy(zero_copy_only=False)
    # With several teachers a prompt, one unknown reward makes the sum over the draws unknown.
    silent = ~moved & (np.isnan(rewards) & (shares > 0)).any(axis=1)
    kept = np.flatnonzero(~moved & ~silent)
    tags = [batch.languages[place] for place in kept.tolist()]
    log = LoggedRun(tags, rewards[kept], shares[kept], old[kept], new[kept])
    return log, int(moved.sum()), int(silent.sum())


def _rows(routes: pa.Table, names: str, values: str, teachers: list[str]) -> Matrix:
    """float64 [prompts, teachers] of two list columns of ROUTES; 0 where a teacher is absent."""
    found = np.zeros((routes.num_rows, len(teachers)))
    column = pc.index_in(pc.list_flatten(routes[names]), value_set=pa.array(teachers, pa.string()))
    row = pc.list_parent_indices(routes[names])
    found[row.to_numpy(), column.to_numpy()] = pc.list_flatten(routes[values]).to_numpy()
    return found


def _rewards(
    candidates: pa.Table,
    ids: Any,
    teachers: list[str],
    objective: str,
    null_reward: float | None,
) -> Matrix:
    """float64 [prompts, teachers]: the mean over samples, NaN where there is none."""
    values = objective_values(candidates, objective)
    if null_reward is not None:
        sign = -1.0 if objective.startswith("minimize:") else 1.0
        values = np.where(np.isnan(values), sign * null_reward, values)
    known = ~np.isnan(values)
    row = pc.index_in(candidates["prompt_id"], value_set=pa.array(ids, pa.string())).to_numpy()
    column = pc.index_in(candidates["teacher"], value_set=pa.array(teachers, pa.string()))
    place = (row * len(teachers) + column.to_numpy())[known]
    size = len(ids) * len(teachers)
    total = np.bincount(place, weights=values[known], minlength=size)
    count = np.bincount(place, minlength=size)
    mean: Matrix = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    return mean.reshape(len(ids), len(teachers))

"""Choosing among kept candidates: objectives, best-of-k, and what goes to the graveyard."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.config import RunConfig
from arbitrage.filters.limits import Limits
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import score_columns
from arbitrage.filters.trust import standing_rewards, trusted_values
from arbitrage.filters.values import Values, objective_values, z_scores
from arbitrage.filters.verdicts import Mask, decide, failed_rows
from arbitrage.schema import GRAVEYARD, candidates_schema, conform

__all__ = [
    "Moments",
    "choose",
    "decide_table",
    "graveyard_rows",
    "objective_values",
    "selection_values",
    "weighted_measures",
    "z_scores",
]


def weighted_measures(config: RunConfig) -> list[str]:
    """Measures that a table of weights names, in [select], as a view's reward or to stand in for
    one: those whose moments a run needs before it can decide."""
    rewards = [getattr(params, "reward", None) for params in config.view_params.values()]
    named = (config.select.objective, *rewards, *standing_rewards(config))
    tables = [table for table in named if isinstance(table, dict)]
    return list(dict.fromkeys(measure for table in tables for measure in table))


def selection_values(table: pa.Table, config: RunConfig, moments: Moments | None = None) -> Values:
    """float64 [n]: what candidates are ranked by; all NaN where nothing is ranked by [select]."""
    select = config.select
    ranked = select.per_prompt is not None or select.limits is not None
    if select.objective is None or not ranked:
        return np.full(table.num_rows, np.nan)
    return trusted_values(table, config, select.objective, moments)


def choose(
    table: pa.Table, values: Values, per_prompt: int | None, *, each_teacher: bool = False
) -> Mask:
    """bool [n]: the best `per_prompt` kept candidates of each prompt by value; None = all kept.

    NaN ranks last and is chosen only where too few are measured. Ties go by candidate_id, a hash,
    so that no teacher is favoured. All candidates of a prompt must be in `table`. With
    `each_teacher` the best of each prompt and teacher are chosen.
    """
    kept: Mask = np.array(table.column("kept").to_numpy(), dtype=np.bool_)
    if per_prompt is None:
        return kept
    rows = np.flatnonzero(kept)
    names = ["prompt_id", "candidate_id", "teacher"]
    part = table.select(names).take(pa.array(rows)).combine_chunks()
    prompts = _codes(part.column("prompt_id"))
    if each_teacher:
        teachers = _codes(part.column("teacher"))
        prompts = prompts * (teachers.max(initial=0) + 1) + teachers
    worth = values[rows]
    # lexsort reads its keys from the last: prompt, measured first, best value, then the id.
    ties = _ranks(part.column("candidate_id"))
    order = np.lexsort((ties, -worth, np.isnan(worth), prompts))
    grouped = prompts[order]
    starts = np.flatnonzero(np.diff(grouped, prepend=-1))
    place = np.arange(len(grouped)) - np.repeat(starts, np.diff(starts, append=len(grouped)))
    chosen = np.zeros(len(kept), dtype=np.bool_)
    chosen[rows[order[place < per_prompt]]] = True
    return chosen


def decide_table(
    scored: pa.Table,
    config: RunConfig,
    moments: Moments | None = None,
    limits: Limits | None = None,
) -> pa.Table:
    """The decision on a shard: its candidates in `candidates_schema` with kept, reasons, chosen.

    Args:
        scored: all candidates of the shard's prompts, with the config's score columns.
        moments: merged over all shards; needed only where an objective is a table of weights.
        limits: found over all shards; without them nothing is limited by language.
    """
    verdicts = decide(scored, config)
    table = scored.drop_columns(
        [n for n in ("kept", "reasons", "chosen") if n in scored.column_names]
    )
    table = table.append_column("kept", pa.array(verdicts.kept))
    table = table.append_column("reasons", verdicts.reasons)
    values, select = selection_values(table, config, moments), config.select
    chosen = choose(table, values, select.per_prompt, each_teacher=select.best_of == "teacher")
    if limits is not None:
        chosen = limits.within(table, values, chosen)
    table = table.append_column("chosen", pa.array(chosen))
    return conform(table, candidates_schema(score_columns(config)))


def graveyard_rows(decided: pa.Table) -> pa.Table:
    """GRAVEYARD rows of a decided table: one for each candidate that failed or was rejected."""
    lost = pc.invert(decided.column("kept"))
    failed = pa.array(failed_rows(decided)).filter(lost.combine_chunks())
    dead = decided.select(["prompt_id", "candidate_id", "language", "teacher", "reasons"]).filter(
        lost
    )
    dead = dead.append_column("kind", pa.repeat("candidate", dead.num_rows))
    dead = dead.append_column("stage", pc.if_else(failed, "generate", "decide"))
    return conform(dead, GRAVEYARD)


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """int64 [n]: a number for each different string."""
    codes: NDArray[np.int64] = (
        column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    )
    return codes


def _ranks(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """int64 [n]: the place of each id in lexicographic order."""
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks

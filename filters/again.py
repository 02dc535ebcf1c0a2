"""Asking again about candidates whose server did not answer, and about no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.answers import PASSING, UNPAID, Answers
from arbitrage.config import RunConfig
from arbitrage.filters.asking import ServerParams
from arbitrage.filters.scoring import conversations, filter_columns, measure_rows, prompt_texts

_CAUSES = [*PASSING, *(f"partly_{cause}" for cause in PASSING)]


def unanswered(scored: pa.Table, config: RunConfig) -> dict[str, NDArray[np.int64]]:
    """Filter -> rows that its server left without a score, or with a part of one; none: absent."""
    found = {}
    for name, params in config.filter_params.items():
        column = f"{name}.cause"
        if isinstance(params, ServerParams) and column in scored.column_names:
            mask = pc.is_in(scored[column], value_set=pa.array(_CAUSES, pa.string()))
            rows = np.flatnonzero(mask.to_numpy())
            if len(rows):
                found[name] = rows
    return found


def unpaid_scores(scored: pa.Table, config: RunConfig) -> int:
    """Candidates that lack a score, or a part of one, because no budget was left."""
    columns = [f"{name}.cause" for name in unanswered(scored, config)]
    unpaid = pa.array(UNPAID, pa.string())
    return sum(pc.sum(pc.is_in(scored[c], value_set=unpaid)).as_py() or 0 for c in columns)


def score_again(
    scored: pa.Table, prompts: pa.Table, config: RunConfig, answers: Answers | None
) -> pa.Table:
    """The table with new scores in the rows of `unanswered`; every other value is as it was.

    A filter that compares the answers to a prompt is shown all of that prompt's, and asks about
    those comparisons alone that `answers` does not know.

    Args:
        prompts: PROMPTS rows of the shard.
    """
    texts, turns = prompt_texts(prompts), conversations(prompts)
    for name, rows in unanswered(scored, config).items():
        params: Any = config.filter_params[name]
        shown = _whole_prompts(scored, rows) if params.compares_answers else rows
        measured = measure_rows(
            scored.take(pa.array(shown)), texts, {name: params}, turns=turns, answers=answers
        )
        scored = _replaced(scored, shown, measured, filter_columns(name, params))
    return scored


def _whole_prompts(scored: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    ids = scored["prompt_id"].take(pa.array(rows)).combine_chunks()
    return np.flatnonzero(pc.is_in(scored["prompt_id"], value_set=ids).to_numpy())


def _replaced(
    scored: pa.Table,
    rows: NDArray[np.int64],
    measured: Mapping[str, NDArray[Any]],
    fields: list[pa.Field],
) -> pa.Table:
    mask = np.zeros(scored.num_rows, dtype=np.bool_)
    mask[rows] = True
    for field in fields:
        new = pa.array(measured[field.name], field.type, from_pandas=True)
        column = pc.replace_with_mask(scored[field.name].combine_chunks(), pa.array(mask), new)
        scored = scored.set_column(scored.column_names.index(field.name), field, column)
    return scored

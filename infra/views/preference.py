"""Preference pairs: of each prompt's candidates the best against the worst."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from arbitrage.errors import ConfigError
from arbitrage.infra.views.base import View, ViewParams, register
from arbitrage.infra.views.turns import ROWS_AT_ONCE, answer_turns, prompt_rows
from arbitrage.schema import MESSAGES

_TEXTS = ("prompt_id", "language", "chosen_id", "rejected_id", "chosen_teacher", "rejected_teacher")
_REWARDS = ("chosen_reward", "rejected_reward", "margin")


class PreferenceParams(ViewParams):
    """Params of preference pairs.

    Attributes:
        min_margin: least reward difference of a pair, in the reward's unit. A tie never pairs.
        include_filtered: whether a candidate that a filter rejected may be the rejected side.
    """

    min_margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    include_filtered: bool = False


@register("preference", version=1)
class Preference(View):
    """Pairs to prefer by: of each prompt the candidate with the best reward against the worst.

    Writes `prompt` (its turns), `chosen` and `rejected` (one assistant turn each: with an explicit
    prompt TRL takes only the assistant's turns there), `prompt_id`, `language`, ids, teachers and
    rewards of both sides (float64) and `margin` = chosen_reward - rejected_reward, always > 0.

    The chosen side passed every filter and constraint; so did the rejected side, unless
    `include_filtered`. Failed candidates, those without text and those without a reward (NaN) never
    pair. One pair a prompt at most; none where both sides read the same or the margin is too small.
    Equal rewards: the earlier candidate.
    [NOT IMPLEMENTED] other pair policies, caps by teacher, limits on the ratio of lengths.
    """

    Params = PreferenceParams
    needs_reward = True
    schema = pa.schema(
        [
            *(pa.field(name, MESSAGES) for name in ("prompt", "chosen", "rejected")),
            *(pa.field(name, pa.string()) for name in _TEXTS),
            *(pa.field(name, pa.float64()) for name in _REWARDS),
        ]
    )

    def rows(
        self, prompts: pa.Table, candidates: pa.Table, rewards: NDArray[np.float64] | None
    ) -> pa.Table:
        if rewards is None:
            raise ConfigError(
                "the preference view has no reward to rank candidates by.",
                mend='Set select.objective, for example "maximize:length.words".',
            )
        best, worst = self._pairs(candidates, rewards)
        parts = [self.schema.empty_table()]
        for start in range(0, len(best), ROWS_AT_ONCE):
            window = slice(start, start + ROWS_AT_ONCE)
            parts.append(self._table(prompts, candidates, rewards, best[window], worst[window]))
        return pa.concat_tables(parts)

    def _pairs(
        self, candidates: pa.Table, rewards: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the chosen and of the rejected side of each pair, in the order of the prompts."""
        answered = pc.and_(pc.is_valid(candidates["text"]), pc.is_null(candidates["error"]))
        rankable = np.isfinite(rewards) & _numpy(answered)
        kept = rankable & _numpy(candidates["kept"])
        ids = candidates["prompt_id"].combine_chunks().dictionary_encode()
        groups = _numpy(ids.indices).astype(np.int64)
        count = len(ids.dictionary)
        best = _first_by_group(groups, -rewards, kept, count)
        worst = _first_by_group(
            groups, rewards, rankable if self.params.include_filtered else kept, count
        )
        both = (best >= 0) & (worst >= 0)
        best, worst = best[both], worst[both]
        margin = rewards[best] - rewards[worst]
        wanted = (margin > 0) & (margin >= self.params.min_margin)
        best, worst = best[wanted], worst[wanted]
        text = candidates["text"]
        differ = _numpy(pc.not_equal(text.take(pa.array(best)), text.take(pa.array(worst))))
        return best[differ], worst[differ]

    def _table(
        self,
        prompts: pa.Table,
        candidates: pa.Table,
        rewards: NDArray[np.float64],
        best: NDArray[np.int64],
        worst: NDArray[np.int64],
    ) -> pa.Table:
        columns = ["prompt_id", "language", "candidate_id", "teacher", "text"]
        chosen = candidates.select(columns).take(pa.array(best))
        rejected = candidates.select(columns).take(pa.array(worst))
        found = prompt_rows(prompts, chosen["prompt_id"])
        arrays = [
            prompts["messages"].take(found).combine_chunks(),
            answer_turns(chosen["text"]),
            answer_turns(rejected["text"]),
            chosen["prompt_id"],
            chosen["language"],
            chosen["candidate_id"],
            rejected["candidate_id"],
            chosen["teacher"],
            rejected["teacher"],
            pa.array(rewards[best]),
            pa.array(rewards[worst]),
            pa.array(rewards[best] - rewards[worst]),
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _first_by_group(
    groups: NDArray[np.int64],
    keys: NDArray[np.float64],
    eligible: NDArray[np.bool_],
    count: int,
) -> NDArray[np.int64]:
    """Per group the eligible row with the smallest key, the earlier of equals; -1 without one."""
    rows = np.flatnonzero(eligible)
    ordered = rows[np.lexsort((rows, keys[rows], groups[rows]))]
    found, first = np.unique(groups[ordered], return_index=True)
    result = np.full(count, -1, dtype=np.int64)
    result[found] = ordered[first]
    return result


def _numpy(values: pa.Array | pa.ChunkedArray) -> NDArray[np.generic]:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return array

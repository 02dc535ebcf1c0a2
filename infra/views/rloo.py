"""RLOO: all answers to a prompt as one group, with rewards and leave-one-out advantages."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from arbitrage.infra.views.base import Rewards, ViewParams, register
from arbitrage.infra.views.groups import Groups, groups_of, leave_one_out
from arbitrage.infra.views.marked import MarkedView
from arbitrage.infra.views.markers import marker_fields
from arbitrage.infra.views.shard import Mask, answered, as_numpy, required
from arbitrage.infra.views.turns import ROWS_AT_ONCE, prompt_rows
from arbitrage.schema import MESSAGES

_OF_PROMPTS = ("source", "task", "reference")
_LISTS = {
    "candidate_ids": "candidate_id",
    "answers": "text",
    "teachers": "teacher",
    "sum_logprobs": "sum_logprob",
    "completion_tokens": "completion_tokens",
    "propensities": "route_probability",
    "kept": "kept",
}
_KINDS = {
    "sum_logprobs": pa.float32(),
    "completion_tokens": pa.int32(),
    "propensities": pa.float32(),
    "kept": pa.bool_(),
}


class RlooParams(ViewParams):
    """Params of groups.

    Attributes:
        members: "kept" takes the candidates that passed every filter; "answered" all that have a
            text, so that a policy also learns from what a filter rejected.
        min_group: fewest candidates of a group, 2 or more; smaller groups are left out.
        drop_tied: leave out groups whose rewards are all equal: their advantages are all 0.
    """

    members: Literal["kept", "answered"] = "kept"
    min_group: int = Field(2, ge=2)
    drop_tied: bool = False


@register("rloo", version=1)
class Rloo(MarkedView):
    """One row a prompt with all its candidates, for leave-one-out and other group estimators.

    Writes `prompt` (its turns), `prompt_id`, `language`, `source`, `task`, `reference`, `k` (int32)
    and lists of length k in the order of the candidates: `candidate_ids`, `answers` (texts),
    `teachers`, `sum_logprobs` (of the teacher, null where it gave none), `completion_tokens`,
    `propensities` (probability that the router drew this teacher), `kept`, `rewards` and
    `advantages` (float64: the reward less the mean of the others).

    Source: Ahmadian et al. 2024 (RLOO). No candidate is in a group twice; those without a reward
    (NaN) are in none. TRL's RLOOTrainer samples anew and reads `prompt` alone, the other columns
    reach its reward functions by name (so none is called `completions`, which is TRL's own).
    """

    Params = RlooParams
    own_columns = _OF_PROMPTS
    needs_reward = True
    learns_numbers = True

    def __init__(self, params: RlooParams) -> None:
        super().__init__(params)
        self.schema = pa.schema(
            [
                pa.field("prompt", MESSAGES),
                *(pa.field(name, pa.string()) for name in ("prompt_id", "language", *_OF_PROMPTS)),
                pa.field("k", pa.int32()),
                *(pa.field(name, pa.list_(_KINDS.get(name, pa.string()))) for name in _LISTS),
                *(pa.field(name, pa.list_(pa.float64())) for name in ("rewards", "advantages")),
                *(pa.field(f.name, pa.list_(f.type)) for f in marker_fields(self._markers)),
            ]
        )

    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        known = required(rewards, "rloo")
        groups = groups_of(candidates, self._members(candidates, known), self.params.min_group)
        if self.params.drop_tied and len(groups.sizes):
            values, starts = known[groups.rows], groups.offsets[:-1]
            spread = np.maximum.reduceat(values, starts) - np.minimum.reduceat(values, starts)
            groups = groups.only(spread > 0)
        markers = self.marked(prompts, candidates, known)
        parts = [self.schema.empty_table()]
        for first, last in _windows(groups):
            some = groups.window(first, last)
            parts.append(self._table(prompts, candidates, known, some, markers))
        return pa.concat_tables(parts)

    def _members(self, candidates: pa.Table, rewards: Rewards) -> Mask:
        usable = answered(candidates) & np.isfinite(rewards)
        if self.params.members == "kept":
            usable &= as_numpy(candidates["kept"])
        return usable

    def _table(
        self,
        prompts: pa.Table,
        candidates: pa.Table,
        rewards: Rewards,
        groups: Groups,
        markers: list[pa.Array],
    ) -> pa.Table:
        firsts = candidates.select(["prompt_id", "language"]).take(
            pa.array(groups.rows[groups.offsets[:-1]])
        )
        asked = prompts.take(prompt_rows(prompts, firsts["prompt_id"]))
        members = candidates.select(list(_LISTS.values())).take(pa.array(groups.rows))
        lists = [
            *(members[name].combine_chunks() for name in _LISTS.values()),
            pa.array(rewards[groups.rows]),
            pa.array(leave_one_out(rewards, groups)),
            *(marker.take(pa.array(groups.rows)) for marker in markers),
        ]
        offsets = pa.array(groups.offsets.astype(np.int32))
        arrays = [
            asked["messages"].combine_chunks(),
            firsts["prompt_id"],
            firsts["language"],
            *(asked[name] for name in _OF_PROMPTS),
            pa.array(groups.sizes.astype(np.int32)),
            *(pa.ListArray.from_arrays(offsets, values) for values in lists),
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _windows(groups: Groups) -> list[tuple[int, int]]:
    """Whole groups, about ROWS_AT_ONCE candidates at a time."""
    windows, first = [], 0
    while first < len(groups.sizes):
        end = groups.offsets[first] + ROWS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(groups.offsets, end, side="right")) - 1)
        windows.append((first, last))
        first = last
    return windows

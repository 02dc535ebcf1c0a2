"""Off-policy learning: answers as drawn, with rewards, log-probabilities and propensities."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from arbitrage.infra.views.base import Rewards, ViewParams, register
from arbitrage.infra.views.groups import groups_of, leave_one_out
from arbitrage.infra.views.marked import MarkedView
from arbitrage.infra.views.markers import marker_fields
from arbitrage.infra.views.pairing import ordered_pairs
from arbitrage.infra.views.shard import (
    Mask,
    Rows,
    answered,
    as_numpy,
    codes_of,
    hashes,
    mixed,
    required,
)
from arbitrage.infra.views.turns import ROWS_AT_ONCE, answer_turns, prompt_rows
from arbitrage.schema import MESSAGES

# What both forms say of each answer.
_ANSWER = {
    "candidate_id": pa.string(),
    "teacher": pa.string(),
    "reward": pa.float64(),
    "sum_logprob": pa.float32(),
    "completion_tokens": pa.int32(),
    "mean_logprob": pa.float32(),
    "propensity": pa.float32(),
    "kept": pa.bool_(),
}


class OffPolicyParams(ViewParams):
    """Params of off-policy rows.

    Attributes:
        form: "answers" writes a row an answer (x, y); "pairs" a row two answers (x, y1, y2).
        members: "answered" takes every candidate with a text, "kept" those that passed the filters.
        both_orders: with "pairs", each pair a second time with its sides exchanged, as SRPO asks.
        pairs_per_prompt: with "pairs", most pairs of a prompt, drawn by hash; None = all of them.
    """

    form: Literal["answers", "pairs"] = "answers"
    members: Literal["answered", "kept"] = "answered"
    both_orders: bool = False
    pairs_per_prompt: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _of_pairs(self) -> OffPolicyParams:
        if self.form == "answers" and (self.both_orders or self.pairs_per_prompt):
            raise ValueError('both_orders and pairs_per_prompt need form = "pairs"')
        return self


@register("offpolicy", version=1)
class OffPolicy(MarkedView):
    """Answers for learners that correct for who wrote them: CoPG, length-averaged losses, SRPO.

    As "answers": `prompt` (turns), `completion` (one assistant turn), `prompt_id`, `language`,
    `candidate_id`, `teacher`, `reward` (float64), `sum_logprob`, `completion_tokens`,
    `mean_logprob` (sum / tokens, for length-averaged losses), `propensity` (probability that the
    router drew this teacher), `kept`, `advantage` (reward less the mean of the prompt's others,
    null without another) and `group_size`. As "pairs": `prompt`, `completion_1`, `completion_2`,
    the columns of an answer for both sides with `_1` and `_2`, `reward_difference` (first less
    second, 0 and below included) and `swapped` (the second order of a pair). Markers are those of
    the first answer.

    Source: CoPG (Flet-Berliac et al. 2024) contrasts two answers by their rewards; SRPO (Choi et
    al. 2024) wants (x, y1, y2) in both orders.
    `sum_logprob` is the log-probability under the teacher that wrote the answer (the behaviour
    policy), null where its server gave none. [NOT IMPLEMENTED] log-probabilities under a student or
    a reference model.
    """

    Params = OffPolicyParams
    learns_numbers = True
    needs_reward = True

    def __init__(self, params: OffPolicyParams) -> None:
        super().__init__(params)
        ids = [pa.field(name, pa.string()) for name in ("prompt_id", "language")]
        if params.form == "answers":
            columns = [
                pa.field("completion", MESSAGES),
                *ids,
                *(pa.field(name, kind) for name, kind in _ANSWER.items()),
                pa.field("advantage", pa.float64()),
                pa.field("group_size", pa.int32()),
            ]
        else:
            columns = [
                *(pa.field(f"completion_{side}", MESSAGES) for side in (1, 2)),
                *ids,
                *(
                    pa.field(f"{name}_{side}", kind)
                    for side in (1, 2)
                    for name, kind in _ANSWER.items()
                ),
                pa.field("reward_difference", pa.float64()),
                pa.field("swapped", pa.bool_()),
            ]
        markers = marker_fields(self._markers)
        self.schema = pa.schema([pa.field("prompt", MESSAGES), *columns, *markers])

    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        known = required(rewards, "offpolicy")
        usable = answered(candidates) & np.isfinite(known)
        if self.params.members == "kept":
            usable &= as_numpy(candidates["kept"])
        markers = self.marked(prompts, candidates, known)
        if self.params.form == "pairs":
            sides, further = self._pairs(candidates, known, usable)
        else:
            sides, further = _answers(candidates, known, usable)
        parts = [self.schema.empty_table()]
        for start in range(0, len(sides[0]), ROWS_AT_ONCE):
            window = slice(start, start + ROWS_AT_ONCE)
            taken = [pa.array(side[window]) for side in sides]
            answers = [candidates.take(rows) for rows in taken]
            found = prompt_rows(prompts, answers[0]["prompt_id"])
            arrays = [
                prompts["messages"].take(found).combine_chunks(),
                *(answer_turns(answer["text"]) for answer in answers),
                *(answers[0][name] for name in ("prompt_id", "language")),
            ]
            for rows, answer in zip(taken, answers, strict=True):
                arrays += _answer_columns(answer, known[as_numpy(rows)])
            arrays += [pa.array(column[window], from_pandas=True) for column in further]
            arrays += [marker.take(taken[0]) for marker in markers]
            parts.append(pa.Table.from_arrays(arrays, schema=self.schema))
        return pa.concat_tables(parts)

    def _pairs(
        self, candidates: pa.Table, rewards: Rewards, usable: Mask
    ) -> tuple[list[Rows], list[Any]]:
        """Rows of the first and of the second side, then the columns that only pairs have."""
        groups, _ = codes_of(candidates["prompt_id"])
        ids = hashes(candidates["candidate_id"], self.params.seed)
        none = np.empty(0, dtype=np.int64)
        lefts, rights = [none], [none]
        for left, right in ordered_pairs(groups, np.flatnonzero(usable)):
            once = left < right
            one, other = left[once], right[once]
            drawn = mixed(ids[one], ids[other])
            # Rows lie by teacher: which side comes first must not say whose it is.
            turned = (drawn & np.uint64(1)).astype(np.bool_)
            one, other = np.where(turned, other, one), np.where(turned, one, other)
            order = np.lexsort((drawn, groups[one]))
            if self.params.pairs_per_prompt is not None:
                starts = np.flatnonzero(np.diff(groups[one[order]], prepend=-1))
                sizes = np.diff(starts, append=len(order))
                place = np.arange(len(order)) - np.repeat(starts, sizes)
                order = order[place < self.params.pairs_per_prompt]
            lefts.append(one[order])
            rights.append(other[order])
        first, second = np.concatenate(lefts), np.concatenate(rights)
        swapped = np.zeros(len(first), dtype=np.bool_)
        if self.params.both_orders:
            first, second = (
                np.stack([first, second], axis=1).ravel(),
                np.stack([second, first], axis=1).ravel(),
            )
            swapped = np.tile([False, True], len(swapped))
        return [first, second], [rewards[first] - rewards[second], swapped]


def _answers(candidates: pa.Table, rewards: Rewards, usable: Mask) -> tuple[list[Rows], list[Any]]:
    """The rows, then their leave-one-out advantage and the size of their group."""
    advantage = np.full(len(rewards), np.nan)
    size = np.ones(len(rewards), dtype=np.int32)
    groups = groups_of(candidates, usable, 2)
    advantage[groups.rows] = leave_one_out(rewards, groups)
    size[groups.rows] = np.repeat(groups.sizes, groups.sizes)
    rows = np.flatnonzero(usable)
    return [rows], [advantage[rows], size[rows]]


def _answer_columns(answers: pa.Table, rewards: Rewards) -> list[Any]:
    """The columns of _ANSWER."""
    tokens, total = answers["completion_tokens"], answers["sum_logprob"]
    some = pc.if_else(pc.greater(tokens, 0), tokens, None)
    return [
        answers["candidate_id"],
        answers["teacher"],
        pa.array(rewards),
        total,
        tokens,
        pc.divide(total, pc.cast(some, pa.float32())),
        answers["route_probability"],
        answers["kept"],
    ]

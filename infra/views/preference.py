"""Preference pairs: which of two answers to a prompt a student should prefer, and why that pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.infra.views.base import Rewards, View, ViewParams, register
from arbitrage.infra.views.caps import Caps, PairSurvey, settle_caps, survey_pairs
from arbitrage.infra.views.markers import (
    Ranks,
    marker_columns,
    marker_fields,
    merged_ranks,
    survey_ranks,
)
from arbitrage.infra.views.pairing import PairParams, Pairs, make_pairs, of_parent
from arbitrage.infra.views.shard import lengths, required
from arbitrage.infra.views.turns import ROWS_AT_ONCE, answer_turns, prompt_rows
from arbitrage.schema import MESSAGES

_TEXTS = ("prompt_id", "language", "chosen_id", "rejected_id", "chosen_teacher", "rejected_teacher")
_REWARDS = ("chosen_reward", "rejected_reward", "margin")
_RUNS = ("rounds", "chosen_run", "rejected_run")
_COUNTS = ("chosen_rank", "rejected_rank", "ranked", "chosen_characters", "rejected_characters")


class PreferenceParams(ViewParams, PairParams):
    """Params of preference pairs: those of every view, and those of pairs (`PairParams`)."""

    @property
    def reads_parent(self) -> bool:
        return self.rounds != "own"

    def check_measures(self, measured: Sequence[str]) -> None:
        self.check_right(measured)


@dataclass(frozen=True, slots=True)
class _Survey:
    pairs: PairSurvey
    ranks: Ranks


@register("preference", version=3)
class Preference(View):
    """Pairs to prefer by: of two answers to one prompt the one with the greater reward, by policy.

    Writes `prompt` (its turns), `chosen` and `rejected` (one assistant turn each: with an explicit
    prompt TRL takes only the assistant's turns there), `prompt_id`, `language`, ids, teachers and
    rewards of both sides (float64), `margin` = chosen_reward - rejected_reward, always > 0, and why
    it is a pair: `policy`, `rejected_as` (with in_language "confused" or "translated", else null),
    `chosen_rank` and `rejected_rank` (int32, 1 = the best reward among the `ranked` candidates of
    its prompt that could be ranked), `chosen_characters` and `rejected_characters` (int32). Across
    rounds also `rounds` ("newer_chosen", "older_chosen" or "same"), `chosen_run` and `rejected_run`
    (run ids). Markers are those of the chosen side.

    The chosen side passed every filter and constraint; so did the rejected side, unless
    `include_filtered` or the policy in_language. Failed candidates, those without text and those
    without a reward (NaN) never pair, nor do two that read the same but for white space. A prompt
    of which [select] chose nothing makes no pair. A candidate of the parent keeps the parent's
    verdict.
    """

    Params = PreferenceParams
    needs_reward = True

    def __init__(self, params: PreferenceParams) -> None:
        super().__init__(params)
        self._caps, self._ranks, self._made = Caps(), Ranks(), 0
        self.schema = pa.schema(
            [
                *(pa.field(name, MESSAGES) for name in ("prompt", "chosen", "rejected")),
                *(pa.field(name, pa.string()) for name in _TEXTS),
                *(pa.field(name, pa.float64()) for name in _REWARDS),
                *(pa.field(name, pa.string()) for name in ("policy", "rejected_as")),
                *(pa.field(name, pa.int32()) for name in _COUNTS),
                *(pa.field(name, pa.string()) for name in _RUNS if params.reads_parent),
                *marker_fields(params.markers),
            ]
        )

    @property
    def surveys(self) -> bool:
        return bool(self.params.capped or self.params.markers)

    def survey(self, candidates: pa.Table, rewards: Rewards | None) -> Any:
        known = required(rewards, "preference")
        pairs = make_pairs(candidates, known, self.params, self.params.seed)
        return _Survey(
            survey_pairs(candidates, pairs), survey_ranks(self.params.markers, candidates, known)
        )

    def settled(self, surveys: Iterable[Any]) -> Self:
        parts = list(surveys)
        view = type(self)(self.params)
        view._caps = settle_caps((part.pairs for part in parts), self.params)
        view._ranks = merged_ranks(part.ranks for part in parts)
        view._made = sum(len(part.pairs.cell) for part in parts)
        return view

    def facts(self) -> Mapping[str, Any]:
        if not self.params.capped:
            return {}
        return {"pairs_before_caps": self._made, "dropped": self._caps.dropped}

    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        known = required(rewards, "preference")
        pairs = make_pairs(candidates, known, self.params, self.params.seed)
        if self.params.capped:
            pairs = pairs.only(self._caps.stay(candidates, pairs))
        characters = lengths(candidates, "characters")
        markers = marker_columns(self.params.markers, self._ranks, prompts, candidates, known)
        parts = [self.schema.empty_table()]
        for start in range(0, len(pairs.chosen), ROWS_AT_ONCE):
            window = np.zeros(len(pairs.chosen), dtype=np.bool_)
            window[start : start + ROWS_AT_ONCE] = True
            some = pairs.only(window)
            arrays = self._arrays(prompts, candidates, known, some)
            arrays += _why(self.params, some, characters)
            if self.params.reads_parent:
                arrays += _rounds(candidates, some)
            arrays += [marker.take(pa.array(some.chosen)) for marker in markers]
            parts.append(pa.Table.from_arrays(arrays, schema=self.schema))
        return pa.concat_tables(parts)

    def _arrays(
        self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards, pairs: Pairs
    ) -> list[Any]:
        columns = ["prompt_id", "language", "candidate_id", "teacher", "text"]
        chosen = candidates.select(columns).take(pa.array(pairs.chosen))
        rejected = candidates.select(columns).take(pa.array(pairs.rejected))
        found = prompt_rows(prompts, chosen["prompt_id"])
        return [
            prompts["messages"].take(found).combine_chunks(),
            answer_turns(chosen["text"]),
            answer_turns(rejected["text"]),
            chosen["prompt_id"],
            chosen["language"],
            chosen["candidate_id"],
            rejected["candidate_id"],
            chosen["teacher"],
            rejected["teacher"],
            pa.array(rewards[pairs.chosen]),
            pa.array(rewards[pairs.rejected]),
            pa.array(rewards[pairs.chosen] - rewards[pairs.rejected]),
        ]


def _why(params: PreferenceParams, pairs: Pairs, characters: Rewards) -> list[pa.Array]:
    """`policy`, `rejected_as` and the columns of _COUNTS."""
    names, kinds = pa.array(params.policies, pa.string()), pa.array(["confused", "translated"])
    policies = names.take(pa.array(pairs.policy))
    wrong = kinds.take(pa.array(pairs.translated[pairs.rejected].astype(np.int8)))
    sides = (pairs.chosen, pairs.rejected)
    return [
        policies,
        pc.if_else(pc.equal(policies, "in_language"), wrong, None),
        *(pa.array(pairs.places[side]) for side in sides),
        pa.array(pairs.ranked[pairs.chosen]),
        *(pa.array(characters[side].astype(np.int32)) for side in sides),
    ]


def _rounds(candidates: pa.Table, pairs: Pairs) -> list[pa.Array]:
    """The columns of _RUNS."""
    older = of_parent(candidates)
    chosen, rejected = older[pairs.chosen], older[pairs.rejected]
    kinds = np.where(rejected & ~chosen, "newer_chosen", np.where(chosen, "older_chosen", "same"))
    runs = candidates["run_id"]
    return [
        pa.array(kinds.astype(object), pa.string()),
        *(runs.take(pa.array(side)) for side in (pairs.chosen, pairs.rejected)),
    ]

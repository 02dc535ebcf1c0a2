"""KTO: single answers, each labelled desirable or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from arbitrage.infra.views.base import Rewards, View, ViewParams, register
from arbitrage.infra.views.caps import Caps, PairSurvey, settle_caps, survey_pairs
from arbitrage.infra.views.markers import (
    Ranks,
    marker_columns,
    marker_fields,
    merged_ranks,
    survey_ranks,
)
from arbitrage.infra.views.pairing import PairParams, make_pairs
from arbitrage.infra.views.shard import Mask, answered, as_numpy, required
from arbitrage.infra.views.spread import Spread
from arbitrage.infra.views.turns import ROWS_AT_ONCE, answer_turns, prompt_rows
from arbitrage.schema import MESSAGES

_TEXTS = ("prompt_id", "candidate_id", "language", "teacher")


class KtoParams(ViewParams):
    """Params of labelled answers.

    Attributes:
        label_by: "rank" compares an answer with all others of its language; "threshold" its reward
            with fixed numbers; "pairs" makes the pairs of `pairs` and labels their sides.
        desirable_above: with "rank", an answer is desirable where its `reward_rank` is above this.
        undesirable_below: with "rank", undesirable where it is below. What is between is left out.
        threshold: with "threshold", the least reward of a desirable answer; needed then.
        undesirable_threshold: rewards below are undesirable; None = `threshold`.
        include_filtered: whether answers that a filter rejected are undesirable, whatever their
            reward; by default they are left out. Not with "pairs", which has its own.
        pairs: with "pairs", as in [views.preference].
    """

    label_by: Literal["rank", "threshold", "pairs"] = "rank"
    desirable_above: float = Field(0.5, ge=0, lt=1)
    undesirable_below: float = Field(0.5, gt=0, le=1)
    threshold: float | None = Field(None, allow_inf_nan=False)
    undesirable_threshold: float | None = Field(None, allow_inf_nan=False)
    include_filtered: bool = False
    pairs: PairParams = PairParams()

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> KtoParams:
        if self.label_by == "threshold" and self.threshold is None:
            raise ValueError('label_by = "threshold" needs a threshold')
        if self.undesirable_below > self.desirable_above:
            raise ValueError("undesirable_below is above desirable_above: labels would overlap")
        if self.lower is not None and self.lower > (self.threshold or 0.0):
            raise ValueError("undesirable_threshold is above threshold: labels would overlap")
        return self

    @property
    def lower(self) -> float | None:
        """The reward below which an answer is undesirable, with "threshold"."""
        if self.threshold is None or self.undesirable_threshold is None:
            return self.threshold
        return self.undesirable_threshold

    @property
    def reads_parent(self) -> bool:
        return self.label_by == "pairs" and self.pairs.rounds != "own"

    def check_measures(self, measured: Sequence[str]) -> None:
        if self.label_by == "pairs":
            self.pairs.check_right(measured)


@dataclass(frozen=True, slots=True)
class _Survey:
    rewards: Spread
    pairs: PairSurvey | None
    ranks: Ranks


@register("kto", version=1)
class Kto(View):
    """Single answers with a verdict: `label` True = desirable, False = undesirable.

    Source: KTO (Ethayarajh et al. 2024), which needs no pairs; where the label is drawn is ours.
    Writes `prompt` (its turns), `completion` (one assistant turn), `label` (bool), `prompt_id`,
    `candidate_id`, `language`, `teacher`, `reward` (float64) and `reward_rank` (float64 in 0..1:
    the share of the answers in its language whose reward is below, ties halved).

    Each candidate once at most. A language whose rewards all tie makes no row by "rank"; a
    candidate that is chosen in one pair and rejected in another makes none by "pairs".
    """

    Params = KtoParams
    needs_reward = True

    def __init__(self, params: KtoParams) -> None:
        super().__init__(params)
        self._spread, self._caps, self._ranks = Spread(), Caps(), Ranks()
        self.schema = pa.schema(
            [
                pa.field("prompt", MESSAGES),
                pa.field("completion", MESSAGES),
                pa.field("label", pa.bool_()),
                *(pa.field(name, pa.string()) for name in _TEXTS),
                pa.field("reward", pa.float64()),
                pa.field("reward_rank", pa.float64()),
                *marker_fields(params.markers),
            ]
        )

    @property
    def surveys(self) -> bool:
        return True

    def survey(self, candidates: pa.Table, rewards: Rewards | None) -> Any:
        known = required(rewards, "kto")
        pairs = None
        if self._capped:
            made = make_pairs(candidates, known, self.params.pairs, self.params.seed)
            pairs = survey_pairs(candidates, made)
        spread = Spread.of(candidates["language"], known, _eligible(candidates, known))
        return _Survey(spread, pairs, survey_ranks(self.params.markers, candidates, known))

    def settled(self, surveys: Iterable[Any]) -> Self:
        view = type(self)(self.params)
        view._spread, view._ranks, pairs = Spread(), Ranks(), []
        for part in surveys:
            view._spread = Spread.merged([view._spread, part.rewards])
            view._ranks = merged_ranks([view._ranks, part.ranks])
            pairs += [part.pairs] if part.pairs is not None else []
        view._caps = settle_caps(pairs, self.params.pairs) if pairs else Caps()
        return view

    def facts(self) -> Mapping[str, Any]:
        return {"dropped": self._caps.dropped} if self._capped else {}

    @property
    def _capped(self) -> bool:
        return bool(self.params.label_by == "pairs" and self.params.pairs.capped)

    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        known = required(rewards, "kto")
        ranks = self._spread.midranks(candidates["language"], known)
        good, bad = self._labels(candidates, known, ranks)
        labelled = np.flatnonzero(good ^ bad)
        markers = marker_columns(self.params.markers, self._ranks, prompts, candidates, known)
        parts = [self.schema.empty_table()]
        for start in range(0, len(labelled), ROWS_AT_ONCE):
            rows = labelled[start : start + ROWS_AT_ONCE]
            answers = candidates.select([*_TEXTS, "text"]).take(pa.array(rows))
            found = prompt_rows(prompts, answers["prompt_id"])
            arrays = [
                prompts["messages"].take(found).combine_chunks(),
                answer_turns(answers["text"]),
                pa.array(good[rows]),
                *(answers[name] for name in _TEXTS),
                pa.array(known[rows]),
                pa.array(ranks[rows], from_pandas=True),
                *(marker.take(pa.array(rows)) for marker in markers),
            ]
            parts.append(pa.Table.from_arrays(arrays, schema=self.schema))
        return pa.concat_tables(parts)

    def _labels(
        self, candidates: pa.Table, rewards: Rewards, ranks: NDArray[np.float64]
    ) -> tuple[Mask, Mask]:
        """Which candidates are desirable and which are undesirable."""
        params = self.params
        if params.label_by == "pairs":
            pairs = make_pairs(candidates, rewards, params.pairs, params.seed)
            stay = self._caps.stay(candidates, pairs)
            good, bad = np.zeros((2, len(rewards)), dtype=np.bool_)
            good[pairs.chosen[stay]] = True
            bad[pairs.rejected[stay]] = True
            return good, bad
        eligible = _eligible(candidates, rewards)
        if params.label_by == "rank":
            good, bad = ranks > params.desirable_above, ranks < params.undesirable_below
        else:
            good, bad = rewards >= params.threshold, rewards < params.lower
        filtered = np.zeros(len(rewards), dtype=np.bool_)
        if params.include_filtered:
            filtered = answered(candidates) & ~as_numpy(candidates["kept"])
        return good & eligible, (bad & eligible) | filtered


def _eligible(candidates: pa.Table, rewards: Rewards) -> Mask:
    """Answers that passed every filter and have a reward."""
    eligible: Mask = answered(candidates) & np.isfinite(rewards) & as_numpy(candidates["kept"])
    return eligible

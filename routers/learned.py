"""The router that predicts every teacher's reward from the prompt and its language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from arbitrage.reach import Reach
from arbitrage.routers.base import register
from arbitrage.routers.fitted import FittedParams, FittedRouter
from arbitrage.routers.fitting import LearnedModel
from arbitrage.routers.meaning import meaning_of
from arbitrage.routers.pooling import Matrix


class LearnedParams(FittedParams):
    """Params of `learned`."""

    choose: Literal["best", "draw", "set"] = Field(  # type: ignore[assignment]
        "best",
        description="Everything to the best teacher, a share to each by its chance, or evenly to "
        "the best few.",
    )
    set_size: int = Field(
        2, ge=1, description="Teachers in a set; draw as many with teachers_per_prompt."
    )
    embedding_cache: Annotated[str | None, Reach.WRITE] = Field(
        None,
        min_length=1,
        description="Local folder of vectors, so that a prompt is embedded once; only for an "
        "artefact fitted with embeddings.",
    )


@register("learned", version=4)
class Learned(FittedRouter):
    """Routes by the reward expected of each teacher, learned from a reward log.

    Source: learned routing of multilingual arbitrage (arXiv 2408.14960), by expected-reward
        regression (ERP, arXiv 2603.20217) on top of the best teacher per language; heads, settings
        and what it is worth: docs/routing.md.
    Reads: text, language, task; an artefact written by `arbitrage router fit --kind learned`.
    Probabilities: 1 for the teacher with the best expected reward less cost_weight x cost (ties to
        the cheaper), or with choose = "draw" how likely each is the best, or with choose = "set" an
        even share to each of the set_size teachers expected to be worth most; 0 for a teacher never
        rated in the language. A language that was not in the fit gets the estimate of its family,
        else of all.
    Blind spots: where cross-validation finds no signal it is `fixed`, or the best single teacher.
        Past 3,000 characters it reads the first 2,000 and the last 1,000.
    """

    Params = LearnedParams
    params: LearnedParams
    kind = "learned"
    version = 4
    model_type = LearnedModel
    model: LearnedModel

    def __init__(self, params: LearnedParams, teachers: Sequence[str]) -> None:
        super().__init__(params, teachers)
        meaning, cache = self.model.meaning, params.embedding_cache
        if meaning is not None and cache is not None:
            self.model = replace(self.model, meaning=meaning_of(meaning.params, cache))

    def _shares(self, worth: Matrix) -> Matrix:
        if self.params.choose != "set":
            return super()._shares(worth)
        # By worth, then the cheaper, as `best_column` has it.
        order = np.argsort(self._costs, kind="stable")
        ranked = order[np.argsort(-worth[:, order], axis=1, kind="stable")]
        chosen = np.zeros(worth.shape)
        np.put_along_axis(chosen, ranked[:, : self.params.set_size], 1.0, axis=1)
        chosen[~np.isfinite(worth)] = 0
        shares: Matrix = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
        return shares

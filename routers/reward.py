"""The router that lets every teacher answer: the reward decides afterwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.routers.base import PromptBatch, Router, RouterParams, register


class RewardParams(RouterParams):
    """What decides."""

    reward: str | dict[str, float] = Field(
        description='"maximize:FILTER.MEASURE", "minimize:..." or a table of weights of z-scores.'
    )

    @field_validator("reward")
    @classmethod
    def _names_measures(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if not objective_measures(value):
            raise ValueError("the table of weights is empty; name a measure")
        return value


@register("reward", version=1)
class Reward(Router):
    """Asks every teacher that may answer, and the best answer by a reward is chosen.

    Source: reward-based routing of "Multilingual Arbitrage" (arXiv 2408.14960). The config spells
        out what it means: router.teachers_per_prompt is the size of the pool, select.objective the
        reward and select.per_prompt 1 (`arbitrage.config.rewards`). Not implemented: choosing among
        some of the teachers, which a fitted router does for less.
    Reads: nothing of the prompt.
    Probabilities: 1 / number of teachers; all of them are drawn, so every propensity is 1.
    Blind spots: costs as many answers a prompt as there are teachers, and as many rewards. It is as
        good as its reward in that language, and likes what the reward likes.

    >>> router = Reward(RewardParams(reward="maximize:judge.score"), ["a", "b"])
    >>> router.probabilities(PromptBatch(["p"], ["xin chào"], ["vi"], [None])).tolist()
    [[0.5, 0.5]]
    """

    Params = RewardParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        count = len(self.teachers)
        return np.full((len(batch), count), 1 / count, dtype=np.float32)

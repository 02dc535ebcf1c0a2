"""The router that asks everybody and lets a reward decide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.config.select import Objective
from arbitrage.routers.base import PromptBatch, Router, RouterParams, register


class RewardParams(RouterParams):
    """Params of the reward router."""

    reward: Objective = Field(
        description='"maximize:FILTER.MEASURE", "minimize:..." or weights of z-scores.'
    )

    @field_validator("reward")
    @classmethod
    def _names_measures(cls, value: Objective) -> Objective:
        if not objective_measures(value):
            raise ValueError("the table of weights is empty; name a measure")
        return value

    @classmethod
    def completed(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Every teacher is asked, and `select` takes the best answer a prompt by the reward.

        What the config says itself stays: another objective, more answers a prompt.
        """
        router, teachers = config["router"], config.get("teachers")
        select = config.get("select", {})
        if not isinstance(select, dict) or not isinstance(teachers, list) or "reward" not in router:
            return config
        chosen = {"objective": router["reward"], "per_prompt": 1} | select
        every = {"teachers_per_prompt": max(1, len(teachers))}
        return {**config, "router": every | router, "select": chosen}


@register("reward", version=1)
class Reward(Router):
    """Asks every teacher of the pool; of all their samples the reward chooses the best.

    Reads: nothing of the prompt. The reward is any measure of the configured filters.
    Probabilities: 1 / number of teachers, all of them drawn, so each propensity is 1.
    Blind spots: pays for every teacher's answer; inherits the faults of its reward, length bias
    first. It is the ceiling that a cheaper router is held against, and what a reward log is made
    of (reward-based routing of Odumakinde et al. 2024, "Multilingual Arbitrage").

    >>> router = Reward(RewardParams(reward="maximize:length.words"), ["a", "b"])
    >>> router.probabilities(PromptBatch(["p"], ["xin chào"], ["vi"], [None])).tolist()
    [[0.5, 0.5]]
    """

    Params = RewardParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        count = len(self.teachers)
        return np.full((len(batch), count), 1 / count, dtype=np.float32)

"""The router that learns from the rewards of the very run it routes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.routers.base import PromptBatch, Router, register
from arbitrage.routers.exp3 import exp3_chances, exp3_taught
from arbitrage.routers.learning import LearningParams, LearningRouter, Lessons, State
from arbitrage.routers.thompson import posterior, taught

# Probabilities in steps of this: routes do not hang on the last digits of a sum.
_STEP = 1e-6


class BanditParams(LearningParams):
    """Params of `bandit`."""

    reward: str = Field(
        description='What is learned from: "maximize:FILTER.MEASURE" or "minimize:FILTER.MEASURE".'
    )
    algorithm: Literal["thompson", "exp3"] = Field(
        "thompson", description="exp3 reads the language alone and trusts no average."
    )
    explore: float = Field(
        0.05, ge=0, le=1, description="Share spread evenly, so that no propensity gets near 0."
    )
    discount: float = Field(
        1.0, gt=0, le=1, description="What an answer counts for one prompt later; 1 = for ever."
    )
    lag: int = Field(
        4, ge=1, description="Shard i knows shards 0 .. i - lag; at most so many run at a time."
    )
    null_reward: float | None = Field(
        None, description="Reward of answers that failed or have no score; by default not counted."
    )

    @field_validator("reward")
    @classmethod
    def _names_a_measure(cls, value: str) -> str:
        objective_measures(value)
        return value


@register("bandit", version=2)
class Bandit(LearningRouter):
    """Routes by what the run's own finished shards have taught, and goes on exploring.

    Source: thompson: contextual Thompson sampling (Agrawal and Goyal 2013) with a hierarchy of
        languages (routers/thompson.py); exp3: Auer et al. 2002, per language (routers/exp3.py);
        what either is worth: docs/bandit.md.
    Reads: text, language, task; rewards of earlier shards.
    Probabilities: (1 - explore) x the probability that the teacher is the best, under the posterior
        (exp3: its weights), + explore / teachers. Exactly what is drawn with, so that propensities
        are true. Even shares before anything is learned.
    Blind spots: nothing is learned from prompts that are in flight, `lag` shards of them. A reward
        only some teachers can be measured by favours them, unless null_reward says otherwise.
    """

    Params = BanditParams
    params: BanditParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        count = len(self.teachers)
        return np.full((len(batch), count), 1 / count, dtype=np.float32)

    def learned(self, state: State, lessons: Lessons) -> State:
        teach = taught if self.params.algorithm == "thompson" else exp3_taught
        return teach(state, lessons, teachers=len(self.teachers), discount=self.params.discount)

    def after(self, state: State) -> Router:
        return TaughtBandit(self, state) if state else self


class TaughtBandit(Router):
    """A bandit at one state."""

    Params = BanditParams
    params: BanditParams

    def __init__(self, bandit: Bandit, state: State) -> None:
        super().__init__(bandit.params, bandit.teachers)
        self._state = state
        self._posterior = posterior(state) if bandit.params.algorithm == "thompson" else None

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        count = len(self.teachers)
        if self._posterior is None:
            shares = exp3_chances(self._state, batch, count)
        else:
            shares = self._posterior.chances(batch)
        shares = (1 - self.params.explore) * shares + self.params.explore / count
        shares = np.round(shares / _STEP)
        found: NDArray[np.float32] = shares / shares.sum(axis=1, keepdims=True)
        return found.astype(np.float32)

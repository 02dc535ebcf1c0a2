"""[calibrate]: which answers are bought to fit a router, and when the new one takes over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.config.plugins import Strict
from arbitrage.reach import Reach


class CalibrateConfig(Strict):
    """Keys of [calibrate], read by `arbitrage calibrate` alone."""

    reward: str | dict[str, float] | None = Field(
        None,
        description="What a good answer is, written as select.objective, which it defaults to.",
    )
    rejected_reward: float | None = Field(
        None, description="Reward of an answer the filters reject; default: as measured."
    )
    prompts: int = Field(500, ge=2, description="Prompts that all teachers answer, in all.")
    per_language: int | None = Field(None, ge=1, description="Of these at most so many a language.")
    random_share: float = Field(
        0.5, gt=0, le=1, description="Share drawn at random; the rest leans towards disagreement."
    )
    pool: int = Field(20_000, ge=2, description="Prompts of the source that are chosen from.")
    kind: str | None = Field(
        None, description="learned, nearest, cluster or fixed; default: router.kind, else learned."
    )
    artefact: Annotated[str | None, Reach.WRITE] = Field(
        None, description="Folder of the artefact in use; default: router.artefact."
    )
    max_loss: float = Field(
        0.0, ge=0, description="Mean reward a new artefact may lose and still take over."
    )
    min_reward: float | None = Field(
        None, description="Mean reward, held out, below which no artefact takes over."
    )

    @field_validator("reward")
    @classmethod
    def _names_measures(cls, value: str | dict[str, float] | None) -> str | dict[str, float] | None:
        objective_measures(value)
        return value

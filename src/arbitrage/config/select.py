"""[select]: which of the kept candidates are chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.config.limits import ByLanguage, limit_of
from arbitrage.config.plugins import Strict

Objective = str | dict[str, float]


class Bounds(Strict):
    """Limits on one measure; a candidate outside them is rejected."""

    min: float | None = None
    max: float | None = None


class SelectConfig(Strict):
    """[select]: which of the kept candidates are chosen."""

    objective: Objective | None = Field(
        None, description='"maximize:FILTER.MEASURE", "minimize:..." or weights of z-scores.'
    )
    constraints: dict[str, Bounds] = Field({}, description="FILTER.MEASURE -> min and max.")
    per_prompt: int | None = Field(None, ge=1, description="Chosen per prompt; default all kept.")
    best_of: Literal["prompt", "teacher"] = Field(
        "prompt", description="per_prompt counts over all teachers, or for each teacher alone."
    )
    per_language: ByLanguage | None = Field(
        None, description="At most so many are chosen: a number, or a table with a default."
    )
    exact: ByLanguage | None = Field(
        None, description="So many are to be chosen: prompts are asked only while it is short."
    )

    @property
    def limits(self) -> int | dict[str, int] | None:
        """The limits by language as they were given."""
        return self.per_language if self.exact is None else self.exact

    def most(self, language: str) -> int | None:
        """Most candidates chosen in a language; None = no limit. What `exact` leaves out is 0."""
        if self.exact is not None:
            return limit_of(self.exact, language) or 0
        return limit_of(self.per_language, language)

    @model_validator(mode="after")
    def _one_limit(self) -> SelectConfig:
        if self.exact is not None and self.per_language is not None:
            raise ValueError("give exact or per_language, not both: exact is the most as well")
        return self

    @field_validator("objective")
    @classmethod
    def _names_measures(cls, value: Objective | None) -> Objective | None:
        objective_measures(value)
        return value

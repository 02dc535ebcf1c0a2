"""The seam every view sits on: decided candidates of one shard in, rows of training data out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from arbitrage.registry import views as registry

register = registry.register

Marker = Literal["quality_quartile", "length_bucket", "source", "task", "translated"]
Rewards = NDArray[np.float64]


class ViewParams(BaseModel):
    """Params of a view.

    Attributes:
        reward: the measure that ranks candidates, as in select.objective; None = that objective.
        markers: further columns about each answer, see `markers.py`.
        seed: fixes what the view draws, where it draws anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward: str | dict[str, float] | None = None
    markers: tuple[Marker, ...] = ()
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def reads_parent(self) -> bool:
        """Whether the view also takes the candidates of the run's parent."""
        return False

    def check_measures(self, measured: Sequence[str]) -> None:
        """Raise ConfigError where a param reads a `FILTER.MEASURE` column the run will not have."""


class View(ABC):
    """One shape of training data. A subclass is registered with `@register(name, version=1)`.

    A view that must know the whole run before its first row (ranks within a language, caps) says
    so by `surveys`: then `survey` is called on every shard, and `settled` with all it returned, in
    the order of the shards, makes the view whose `rows` are written.

    Attributes:
        needs_reward: True where candidates must be ranked whatever the params.
        learns_numbers: True where a learner reads rewards as numbers, not only as an order.
        schema: Arrow schema of its rows. Every field is nullable, because that is what a Hugging
            Face feature is. A view whose params change its columns sets its own in `__init__`.
    """

    Params: ClassVar[type[ViewParams]]
    needs_reward: ClassVar[bool] = False
    learns_numbers: ClassVar[bool] = False
    schema: pa.Schema

    def __init__(self, params: Any) -> None:
        self.params = params

    @classmethod
    def ranks(cls, params: Any) -> bool:
        """Whether the view with these params needs a reward."""
        return cls.needs_reward or "quality_quartile" in params.markers

    @property
    def surveys(self) -> bool:
        """Whether the view must see every shard before it writes a row."""
        return False

    def survey(self, candidates: pa.Table, rewards: Rewards | None) -> Any:  # noqa: ARG002
        """What `settled` has to know of one shard; small beside the shard's texts."""
        return None

    def settled(self, surveys: Iterable[Any]) -> Self:  # noqa: ARG002 - a view without a survey
        """This view with what it had to know of the whole run."""
        return self

    @abstractmethod
    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        """Rows of one shard, of exactly `schema`, in the order of the candidates.

        Args:
            prompts: PROMPTS rows of the shard; may hold prompts that have no candidate.
            candidates: its candidates with scores and verdicts. Where the params say
                `reads_parent`, those of the parent's for the same prompts follow, and two columns:
                `of_parent` bool and `run_id`.
            rewards: one per candidate, higher is better, NaN = not measured; None without a reward.
        """

    def facts(self) -> Mapping[str, Any]:
        """What the settled view has to say about the whole run, JSON-like, for the run's card."""
        return {}

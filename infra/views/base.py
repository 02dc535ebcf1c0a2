"""The seam every view sits on: decided candidates of one shard in, rows of training data out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arbitrage.registry import views as registry

register = registry.register


class ViewParams(BaseModel):
    """Params of a view.

    Attributes:
        reward: the measure that ranks candidates, as in select.objective; None = that objective.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reward: str | dict[str, float] | None = None


class View(ABC):
    """One shape of training data. A subclass is registered with `@register(name, version=1)`.

    Class attributes:
        needs_reward: True where candidates must be ranked.
        schema: Arrow schema of its rows. Every field is nullable, because that is what a Hugging
            Face feature is.
    """

    Params: ClassVar[type[ViewParams]]
    needs_reward: ClassVar[bool] = False
    schema: ClassVar[pa.Schema]

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def rows(
        self, prompts: pa.Table, candidates: pa.Table, rewards: NDArray[np.float64] | None
    ) -> pa.Table:
        """Rows of one shard, of exactly `schema`, in the order of the candidates.

        Args:
            prompts: PROMPTS rows of the shard; may hold prompts that have no candidate.
            candidates: its candidates with scores and verdicts.
            rewards: one per candidate, higher is better, NaN = not measured; None without a reward.
        """

"""The router that knows one teacher."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from arbitrage.routers.base import PromptBatch, Router, RouterParams, register


class SingleParams(RouterParams):
    """Params of `single`."""

    teacher: str = Field(description="The teacher that answers every prompt.")

    def named_teachers(self) -> list[str]:
        return [self.teacher]


@register("single", version=1)
class Single(Router):
    """Sends every prompt to one teacher: the baseline "best single teacher".

    Reads: nothing of the prompt.
    Probabilities: 1 for `teacher`, 0 for the others.
    Blind spots: a teacher that is best on average may be worst in one language.

    >>> router = Single(SingleParams(teacher="b"), ["a", "b"])
    >>> router.probabilities(PromptBatch(["p"], ["merhaba"], ["tr"], [None])).tolist()
    [[0.0, 1.0]]
    """

    Params = SingleParams
    params: SingleParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        shares = np.zeros((len(batch), len(self.teachers)), dtype=np.float32)
        shares[:, self.teachers.index(self.params.teacher)] = 1
        return shares

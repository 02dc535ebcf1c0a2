"""The router that favours nobody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch, Router, RouterParams, register


@register("uniform", version=1)
class Uniform(Router):
    """Gives every teacher the same probability: the baseline "no router", and fair exploration.

    Reads: nothing of the prompt.
    Probabilities: 1 / number of teachers.
    Blind spots: spends most requests on teachers that are not the best one.

    >>> router = Uniform(RouterParams(), ["a", "b"])
    >>> router.probabilities(PromptBatch(["p"], ["xin chào"], ["vi"], [None])).tolist()
    [[0.5, 0.5]]
    """

    Params = RouterParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        count = len(self.teachers)
        return np.full((len(batch), count), 1 / count, dtype=np.float32)

"""The seam of routers that learn while a run goes on: what they are told and remember."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import RouterError
from arbitrage.routers.arrays import read_arrays
from arbitrage.routers.artefact import packed
from arbitrage.routers.base import PromptBatch, Router, RouterParams

# What a router remembers: arrays by name, no objects among them. Empty = nothing learned yet.
State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What one finished shard taught.

    Attributes:
        batch: its routed prompts, in their order.
        row: int64 [n], which prompt an answer is to.
        teacher: int64 [n], column of the teacher that gave it.
        reward: float64 [n], finite, higher is better; the mean over a teacher's samples.
        propensity: float64 [n] in (0, 1], how likely that teacher was drawn for that prompt.
    """

    batch: PromptBatch
    row: NDArray[np.int64]
    teacher: NDArray[np.int64]
    reward: NDArray[np.float64]
    propensity: NDArray[np.float64]


class LearningParams(RouterParams):
    """What a router that learns needs beside its own params: where rewards come from, and when.

    A subclass declares `reward` (an objective) and `lag`.
    """

    reward: str
    lag: int


class LearningRouter(Router):
    """A router whose choices depend on rewards of earlier shards of the same run.

    Shard i is routed by what shards 0 .. i - lag taught, in that order, whichever finished first;
    so routes are a function of config, seed and answers, not of how a run was scheduled, stopped or
    resumed. `probabilities` is what it does before it has learned anything.
    """

    params: LearningParams

    @abstractmethod
    def learned(self, state: State, lessons: Lessons) -> State:
        """The state after one more shard. Pure; deterministic."""

    @abstractmethod
    def after(self, state: State) -> Router:
        """The router that has this state and learns no further."""


def state_bytes(state: State) -> bytes:
    """A state as the bytes of an .npz, the same for the same state."""
    return packed(state)


def state_of(data: bytes, where: str) -> State:
    """The inverse; RouterError where the bytes are damaged."""
    try:
        return read_arrays(data)
    except ValueError as error:
        raise RouterError(
            f'the router\'s state "{where}" is damaged: {error}.',
            mend="Delete it: it is made again from the finished shards.",
        ) from None

"""EXP3 per language: the adversarial bandit that reads nothing of a prompt but its language."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.heads import softmax
from arbitrage.routers.learning import Lessons, State

Matrix = NDArray[np.float64]


def exp3_taught(state: State, lessons: Lessons, *, teachers: int, discount: float) -> State:
    """The state after one more shard: importance-weighted losses, added up per language.

    Arrays: tags, losses [tags, teachers], rounds [tags], low and high: the range of rewards seen so
    far, which a loss in 0 .. 1 is taken from, so the very first ones are scaled by less than all.

    Source: Auer et al. 2002, "The nonstochastic multiarmed bandit problem", in the anytime form of
        Bubeck and Cesa-Bianchi 2012, figure 3.1, on a batch of rounds at a time; losses fade with
        `discount`, which is not part of it.
    """
    known = [str(tag) for tag in state["tags"]] if "tags" in state else []
    tags = [*known, *sorted(set(lessons.batch.languages).difference(known))]
    losses, rounds = np.zeros((len(tags), teachers)), np.zeros(len(tags))
    low, high = np.inf, -np.inf
    if known:
        faded = discount ** len(lessons.batch)
        losses[: len(known)] = faded * state["losses"]
        rounds[: len(known)] = faded * state["rounds"]
        low, high = float(state["low"]), float(state["high"])
    if len(lessons.reward):
        low, high = min(low, lessons.reward.min()), max(high, lessons.reward.max())
        place = {tag: index for index, tag in enumerate(tags)}
        language = np.array([place[tag] for tag in lessons.batch.languages])[lessons.row]
        weight = discount ** (len(lessons.batch) - 1.0 - lessons.row)
        loss = (high - lessons.reward) / (high - low) if high > low else np.zeros(len(language))
        np.add.at(losses, (language, lessons.teacher), weight * loss / lessons.propensity)
        np.add.at(rounds, language, weight)
    arrays: dict[str, Any] = {"tags": np.array(tags, dtype=np.str_), "losses": losses}
    return {**arrays, "rounds": rounds, "low": np.float64(low), "high": np.float64(high)}


def exp3_chances(state: State, batch: PromptBatch, teachers: int) -> Matrix:
    """float64 [n, teachers]: exp(-rate x loss), rate = sqrt(ln k / (k x rounds)) of the language;
    even shares in a language that was not met."""
    place = {str(tag): index for index, tag in enumerate(state["tags"])}
    rounds = np.maximum(state["rounds"], 1.0)[:, None]
    rate = np.sqrt(np.log(max(teachers, 2)) / (teachers * rounds))
    worth = -rate * (state["losses"] - state["losses"].min(axis=1, keepdims=True))
    table = np.vstack([softmax(worth), np.full((1, teachers), 1 / teachers)])
    found: NDArray[np.float64] = table[[place.get(tag, -1) for tag in batch.languages]]
    return found

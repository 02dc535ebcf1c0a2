"""Contextual Thompson sampling: a Gaussian posterior of each teacher's reward, per language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.features import features
from arbitrage.routers.learning import Lessons, State
from arbitrage.routers.likely_best import likely_best
from arbitrage.routers.online import WIDTH, word_columns, words_seen
from arbitrage.routers.relatives import family_of

Matrix = NDArray[np.float64]

# Prior precisions, in answers: a teacher's level over all languages counts as one answer at the
# mean of all teachers, a family's or language's own difference as ten at zero (as in pooling.py),
# what features add as RIDGE of them.
LEVEL, OWN, RIDGE = 1.0, 10.0, 10.0
# The noise is believed to be the spread of all rewards until so many answers say otherwise.
NOISE_ANSWERS = 10.0


@dataclass(frozen=True, slots=True)
class Posterior:
    """Of each teacher, weights ~ Normal(mean, noise x spread), and what the columns stand for.

    Attributes:
        mean: float64 [teachers, columns].
        spread: float64 [teachers, columns, columns].
        noise: variance of one answer's reward.
        centre: mean reward of all teachers, to which weights are added.
    """

    state: State
    mean: Matrix
    spread: NDArray[np.float64]
    noise: float
    centre: float

    def expected(self, batch: PromptBatch) -> tuple[Matrix, Matrix]:
        """(mean, standard deviation), float64 [n, teachers], of each teacher's expected reward."""
        known = columns(self.state, batch)
        mean = self.centre + known @ self.mean.T
        variance = np.empty_like(mean)
        for teacher, spread in enumerate(self.spread):
            variance[:, teacher] = np.einsum("ij,ij->i", known @ spread, known)
        return mean, np.sqrt(self.noise * np.maximum(variance, 0.0))

    def chances(self, batch: PromptBatch) -> Matrix:
        """float64 [n, teachers]: the probability that each teacher is the best, which is how often
        Thompson sampling, drawing from the posterior, would choose it."""
        mean, deviation = self.expected(batch)
        # The last digits of a product differ with the size of a batch; what is drawn must not.
        unit = float(np.sqrt(self.noise)) or 1.0
        rounded = np.round((mean - self.centre) / unit, 6), np.round(deviation / unit, 6)
        return likely_best(*rounded)


def taught(state: State, lessons: Lessons, *, teachers: int, discount: float) -> State:
    """The state after one more shard: sums over answers, each old one worth less.

    Arrays: names (languages and families, in the order in which they were met), gram [teachers,
    columns, columns], right [teachers, columns], squares [teachers], and those about words.
    """
    words = words_seen(state, features(lessons.batch))
    names = _names(state, lessons.batch.languages)
    grown = {**state, "names": names}
    width = 1 + WIDTH + len(names)
    gram, right = np.zeros((teachers, width, width)), np.zeros((teachers, width))
    squares = np.zeros(teachers)
    faded = discount ** len(lessons.batch)
    if "gram" in state:
        before = state["gram"].shape[1]
        gram[:, :before, :before] = faded * state["gram"]
        right[:, :before] = faded * state["right"]
        squares += faded * state["squares"]
    known = columns(grown, lessons.batch)[lessons.row]
    weight = discount ** (len(lessons.batch) - 1.0 - lessons.row)
    for teacher in range(teachers):
        mine = lessons.teacher == teacher
        weighted = known[mine] * weight[mine, None]
        gram[teacher] += weighted.T @ known[mine]
        right[teacher] += weighted.T @ lessons.reward[mine]
        squares[teacher] += (weight[mine] * lessons.reward[mine] ** 2).sum()
    return {**words, "names": names, "gram": gram, "right": right, "squares": squares}


def posterior(state: State) -> Posterior:
    """What the sums say.

    Source: Bayesian linear regression with a hierarchical prior (teacher + family + language +
        features), chosen from as in Agrawal and Goyal 2013, "Thompson Sampling for Contextual
        Bandits with Linear Payoffs". With a discount the sums are those of Russac, Vernade and
        Cappe 2019 ("Weighted Linear Bandits for Non-Stationary Environments"), their second
        matrix of squared weights left out.
    Not implemented: noise that differs between teachers; the uncertainty of the noise itself.
    """
    gram, right, squares = state["gram"], state["right"], state["squares"]
    answers = gram[:, 0, 0]
    total = max(float(answers.sum()), 1e-12)
    centre = float(right[:, 0].sum()) / total
    centred = right - centre * gram[:, 0, :]
    off = squares - 2 * centre * right[:, 0] + centre**2 * answers
    prior = np.concatenate([[LEVEL], np.full(WIDTH, RIDGE), np.full(len(state["names"]), OWN)])
    spread = np.linalg.inv(gram + np.diag(prior))
    mean = np.einsum("aij,aj->ai", spread, centred)
    left = float((off - np.einsum("aj,aj->a", mean, centred)).sum())
    believed = NOISE_ANSWERS * max(float(off.sum()), 0.0) / total
    noise = max(believed + max(left, 0.0), 0.0) / (NOISE_ANSWERS + total)
    return Posterior(state, mean, spread, noise, centre)


def columns(state: State, batch: PromptBatch) -> Matrix:
    """float64 [n, 1 + WIDTH + names]: one, the prompt's words, its language and family."""
    place = {str(name): index for index, name in enumerate(state["names"])}
    own = np.zeros((len(batch), len(place)))
    for row, tag in enumerate(batch.languages):
        for name in _levels(tag):
            if name in place:
                own[row, place[name]] = 1.0
    return np.hstack([np.ones((len(batch), 1)), word_columns(state, batch), own])


def _names(state: State, tags: Sequence[str]) -> NDArray[Any]:
    known = [str(name) for name in state["names"]] if "names" in state else []
    met = {name for tag in tags for name in _levels(tag)}
    return np.array([*known, *sorted(met.difference(known))], dtype=np.str_)


def _levels(tag: str) -> tuple[str, str]:
    return tag, f"family {family_of(tag)}"

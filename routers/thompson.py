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

# Prior precisions, in answers. Of what all teachers have in common, and of a teacher's level:
COMMON, COMMON_WORDS, LEVEL = 10.0, 10.0, 1.0
# Of a teacher's own difference in a family or a language, and by words: the likeliest of these,
# the first of which is next to none. OWN is what stands for the former while the latter is chosen.
OWN = 10.0
OWNS, RIDGES = (300.0, 100.0, 30.0, 10.0), (10_000.0, 1000.0, 300.0, 100.0, 30.0)
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

    A teacher's weights are those that all have in common (a prompt that is hard for everybody, a
    language in which rewards are low) and a difference of its own. Only differences decide who is
    best, so uncertainty about the common part is no reason to explore. How far teachers differ by
    language and by words is read from the answers: of a few prior precisions the likeliest, which
    is next to no difference where there is too little to tell.

    Source: Bayesian linear regression with a hierarchical prior, chosen from as in Agrawal and
        Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs"; precisions by
        the evidence (MacKay 1992, "Bayesian Interpolation"). With a discount the sums are those of
        Russac, Vernade and Cappe 2019 ("Weighted Linear Bandits for Non-Stationary Environments"),
        their second matrix of squared weights left out.
    Not implemented: noise that differs between teachers; the uncertainty of the noise itself, of
        the common part and of the precisions.
    """
    words = max((_solved(state, OWN, ridge) for ridge in RIDGES), key=_evidence)
    others = (_solved(state, own, words.ridge) for own in OWNS if own != OWN)
    best = max((words, *others), key=_evidence)
    return Posterior(state, best.mean, best.spread, best.noise, best.centre)


@dataclass(frozen=True, slots=True)
class _Solved:
    mean: Matrix
    spread: NDArray[np.float64]
    noise: float
    centre: float
    evidence: float
    ridge: float


def _evidence(solved: _Solved) -> float:
    return solved.evidence


def _solved(state: State, own: float, ridge: float) -> _Solved:
    """The posterior at these precisions, and the log of its evidence but for a constant.

    The common weights are the most likely ones: each teacher's difference ~ Normal(0, noise / P)
    integrated out, sum(P - P S P) times them is sum(P S b), over teachers, where S is the inverse
    of gram + P and b the right side.
    """
    gram, right, squares = state["gram"], state["right"], state["squares"]
    answers = gram[:, 0, 0]
    total = max(float(answers.sum()), 1e-12)
    centre = float(right[:, 0].sum()) / total
    centred = right - centre * gram[:, 0, :]
    count = len(state["names"])
    prior = np.concatenate([[LEVEL], np.full(WIDTH, ridge), np.full(count, own)])
    shared = np.concatenate([[LEVEL], np.full(WIDTH, COMMON_WORDS), np.full(count, COMMON)])
    spread = np.linalg.inv(gram + np.diag(prior))
    known = np.diag(shared + len(gram) * prior) - prior[:, None] * spread.sum(axis=0) * prior
    common = np.linalg.solve(known, prior * np.einsum("aij,aj->i", spread, centred))
    off = squares - 2 * centre * right[:, 0] + centre**2 * answers - 2 * centred @ common
    off = off + np.einsum("i,aij,j->a", common, gram, common)
    centred = centred - gram @ common
    mean = np.einsum("aij,aj->ai", spread, centred)
    left = float((off - np.einsum("aj,aj->a", mean, centred)).sum())
    believed = NOISE_ANSWERS * max(float(off.sum()), 0.0) / total
    noise = max(believed + max(left, 0.0), 0.0) / (NOISE_ANSWERS + total)
    # Rewards that are all alike leave the last digits of sums, which say nothing.
    least = max(noise, 1e-12 * float(squares.sum()) / total, 1e-300)
    sizes = float(np.linalg.slogdet(spread)[1].sum()) + len(gram) * float(np.log(prior).sum())
    evidence = round((sizes - total * float(np.log(least))) / 2, 6)
    return _Solved(common + mean, spread, noise, centre, evidence, ridge)


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

"""Elo ratings, over many orders of the same matches: what they are worth beside Bradley-Terry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START, STEP, SCALE = 1000.0, 4.0, 400.0
PERMUTATIONS = 100
MOST_MATCHES = 10_000

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Elo:
    """Ratings of teachers, float64 [n_teachers] each.

    Attributes:
        mean: over the orders; 1000 is the mean of all teachers.
        low, high: the middle 95 % over the orders: what the order alone moves a rating by. It says
            nothing of how many prompts there were.
    """

    mean: Matrix
    low: Matrix
    high: Matrix


def elo_ratings(rewards: Matrix, *, permutations: int = PERMUTATIONS, seed: int = 0) -> Elo:
    """Rate teachers by all pairs of answers to the same prompt, in `permutations` random orders.

    A tie is half a win. In each order at most 10,000 matches are played, drawn without replacement.
    Source: Elo 1978, step 4 as in Chatbot Arena; that an order alone moves ratings, and that 100
    orders or more are needed: Boubdir et al. 2023, "Elo Uncovered" (arXiv 2311.17295).

    Args:
        rewards: float64 [n_prompts, n_teachers], NaN = no answer.
    """
    one, other, score = _matches(rewards)
    random = np.random.default_rng(seed)
    played = min(len(one), MOST_MATCHES)
    orders = np.empty((permutations, played), dtype=np.int64)
    for row in range(permutations):
        orders[row] = random.permutation(len(one))[:played]
    ratings = np.full((permutations, rewards.shape[1]), START)
    rows = np.arange(permutations)
    # One match of every order at a time: the loop is over matches, not over orders.
    for turn in orders.T:
        left, right = one[turn], other[turn]
        ahead = ratings[rows, right] - ratings[rows, left]
        change = STEP * (score[turn] - 1 / (1 + 10 ** (ahead / SCALE)))
        ratings[rows, left] += change
        ratings[rows, right] -= change
    low, high = np.percentile(ratings, [2.5, 97.5], axis=0)
    return Elo(ratings.mean(axis=0), low, high)


def _matches(rewards: Matrix) -> tuple[NDArray[np.intp], NDArray[np.intp], Matrix]:
    """The two teachers of every match, and what the first one got of it: 1, 0.5 or 0."""
    first, second = np.triu_indices(rewards.shape[1], 1)
    apart = rewards[:, first] - rewards[:, second]
    prompts, pairs = np.nonzero(~np.isnan(apart))
    score: Matrix = (np.sign(apart[prompts, pairs]) + 1) / 2
    return first[pairs], second[pairs], score

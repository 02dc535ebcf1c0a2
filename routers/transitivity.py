"""Whether "beats" can be a ranking at all: circles of three among teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.bootstrap import FEWEST_GROUPS


@dataclass(frozen=True, slots=True)
class Transitivity:
    """Circles of three: a beats b on more prompts than not, b beats c, and c beats a.

    Attributes:
        triples: how many there are of three teachers of whom each pair has met.
        circles: those that are circles; noise alone makes some where teachers are alike.
        sure: those of which every one of the three wins is sure (95 % bootstrap interval).
    """

    triples: int
    circles: tuple[tuple[str, str, str], ...]
    sure: tuple[tuple[str, str, str], ...]


def transitivity(
    names: Sequence[str], wins: NDArray[np.float64], replicas: NDArray[np.float64]
) -> Transitivity:
    """Find the circles.

    Source: intransitivity of pairwise preferences, as reported of language models by Boubdir et al.
    2023 (arXiv 2311.17295). Circles of more than three hold one of three wherever all pairs differ.

    A circle is sure where each lead is, by its 95 % interval and on six prompts at least.

    Args:
        wins: float64 [teachers, teachers], [i, j] = how often i beat j, a tie half a win each.
        replicas: float64 [replicates, teachers, teachers], the same of bootstrap samples.

    >>> round = np.array([[0, 6, 2], [2, 0, 6], [6, 2, 0.0]])
    >>> transitivity("abc", round, np.stack([round] * 50)).sure
    (('a', 'b', 'c'),)
    """
    met = wins + wins.T > 0
    beats = wins > wins.T
    lead = np.percentile(replicas - replicas.transpose(0, 2, 1), 2.5, axis=0)
    surely = (lead > 0) & (wins + wins.T >= FEWEST_GROUPS)
    triples = 0
    circles, sure = [], []
    for a, b, c in combinations(range(len(names)), 3):
        if not (met[a, b] and met[b, c] and met[a, c]):
            continue
        triples += 1
        for x, y, z in ((a, b, c), (a, c, b)):
            if beats[x, y] and beats[y, z] and beats[z, x]:
                circle = names[x], names[y], names[z]
                circles.append(circle)
                if surely[x, y] and surely[y, z] and surely[z, x]:
                    sure.append(circle)
    return Transitivity(triples, tuple(circles), tuple(sure))

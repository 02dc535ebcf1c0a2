"""Mean reward of each teacher in each language, partially pooled: language, family, all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.languages import base_language
from arbitrage.routers.relatives import family_of

Matrix = NDArray[np.float64]

# A language counts as much as this many prompts of its family's mean, a family as that many of all.
BORROWED_PROMPTS = 10.0


@dataclass(frozen=True, slots=True)
class PooledMeans:
    """Expected reward by language before anything of the prompt is read.

    Attributes:
        overall: float64 [n_teachers].
        families: family -> float64 [n_teachers].
        languages: tag -> float64 [n_teachers]; -inf for a teacher that was never rated in it
            though others were: what it can do there is not known, so it is not sent there.
        counts: tag -> prompts it was learned from.
    """

    overall: Matrix
    families: Mapping[str, Matrix]
    languages: Mapping[str, Matrix]
    counts: Mapping[str, int]

    @classmethod
    def of(
        cls, tags: Sequence[str], rewards: Matrix, borrowed: float = BORROWED_PROMPTS
    ) -> PooledMeans:
        """Shrink the mean of each language to its family's, and that to the mean of all.

        Source: partial pooling with a fixed number of pseudo-prompts (Gelman and Hill 2007, 12.2,
        with one ratio of variances for all teachers).

        Args:
            rewards: float64 [n_prompts, n_teachers], NaN where missing; a teacher without any is
                -inf everywhere.
            borrowed: pseudo-prompts; 0 = each language alone, inf = all alike.
        """
        names = np.array(tags)
        there = ~np.isnan(rewards)
        overall = np.full(rewards.shape[1], -np.inf)
        sums = np.where(there, rewards, 0.0).sum(axis=0)
        np.divide(sums, there.sum(axis=0), out=overall, where=there.any(axis=0))
        in_family = np.array([family_of(tag) for tag in tags])
        families = {
            str(name): _shrunk(rewards[in_family == name], overall, borrowed)
            for name in np.unique(in_family)
        }
        languages, counts = {}, {}
        for name in np.unique(names):
            own = rewards[names == name]
            means = _shrunk(own, families[family_of(str(name))], borrowed)
            means[np.isnan(own).all(axis=0)] = -np.inf
            languages[str(name)], counts[str(name)] = means, len(own)
        return cls(overall, families, languages, counts)

    def knows(self, tag: str) -> bool:
        """Whether there were rewards in the language, or in its primary subtag."""
        return tag in self.languages or base_language(tag) in self.languages

    def row(self, tag: str) -> Matrix:
        """float64 [n_teachers] of a tag; of a language that was not in the fit, that of its primary
        subtag, else of its family, else of all."""
        for known in (tag, base_language(tag)):
            if known in self.languages:
                return self.languages[known]
        return self.families.get(family_of(tag), self.overall)

    def rows(self, tags: Sequence[str]) -> Matrix:
        """float64 [n, n_teachers]."""
        distinct = sorted(set(tags))
        place = {tag: index for index, tag in enumerate(distinct)}
        if not distinct:
            return np.zeros((0, len(self.overall)))
        table = np.stack([self.row(tag) for tag in distinct])
        found: Matrix = table[np.array([place[tag] for tag in tags], dtype=np.intp)]
        return found


def _shrunk(own: Matrix, towards: Matrix, borrowed: float) -> Matrix:
    if np.isinf(borrowed):
        return towards.copy()
    there = ~np.isnan(own)
    count = there.sum(axis=0)
    total = np.where(there, own, 0.0).sum(axis=0) + (borrowed * towards if borrowed else 0.0)
    means: Matrix = np.where(count + borrowed > 0, total / np.maximum(count + borrowed, 1e-9), 0)
    return np.where((count == 0) & (borrowed == 0), towards, means)


def residual(rewards: Matrix, base: Matrix) -> NDArray[np.float32]:
    """Rewards less what is expected anyway; 0 where either is not known.

    >>> residual(np.array([[1.0, np.nan, 2.0]]), np.array([[0.5, 0.5, -np.inf]])).tolist()
    [[0.5, 0.0, 0.0]]
    """
    known = ~np.isnan(rewards) & np.isfinite(base)
    left = np.subtract(rewards, base, out=np.zeros(rewards.shape), where=known)
    found: NDArray[np.float32] = left.astype(np.float32)
    return found


def best_column(expected: Matrix, costs: Matrix) -> NDArray[np.intp]:
    """The column of the best of each row; ties go to the cheaper, then to the first.

    >>> best_column(np.array([[1.0, 1.0], [2.0, 1.0]]), np.array([3.0, 1.0])).tolist()
    [1, 0]
    """
    order = np.argsort(costs, kind="stable")
    chosen: NDArray[np.intp] = order[expected[:, order].argmax(axis=1)]
    return chosen

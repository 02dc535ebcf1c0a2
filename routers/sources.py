"""From what data set a prompt probably is, read from its text, and what a teacher gains there.

Teachers differ most by the kind of task, and a log often names it: the data set a prompt came from.
Names are without noise, rewards are not, so the words of a data set are learned from far fewer
prompts than the words at which a teacher is good. To route, the text alone is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.design import IN_MEMORY, Design
from arbitrage.routers.heads import descended, softmax
from arbitrage.routers.pooling import Matrix
from arbitrage.routers.word_columns import Single

# Data sets of fewer prompts, and those beyond the largest, count as one.
FEWEST_PROMPTS, MOST = 20, 32
# Of the regression that tells data sets apart; a third and a tenth of it told them as well.
PENALTY = 0.1
# A data set's gain over the language's mean is shrunk as if so many prompts had shown none.
BORROWED = 10.0
OTHERS = ""

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Sources:
    """Data sets, how to tell them apart, and their gains.

    Attributes:
        names: of the data sets; OTHERS stands for the small ones and for prompts without a name.
        weights: float32 [shared words, sources], of a multinomial logistic regression.
        prior: float32 [sources], logarithm of the share of the prompts.
        gains: float32 [sources, n_teachers], on top of the language's mean.
        told_apart: share of held-out prompts whose data set was the likeliest, 0 to 1.
    """

    names: tuple[str, ...]
    weights: Single
    prior: Single
    gains: Single
    told_apart: float

    def added(self, scores: Matrix) -> Matrix:
        """float64 [n, n_teachers]: expected gain.

        Args:
            scores: float [n, sources], words times `weights`.
        """
        found: Matrix = softmax(scores + self.prior) @ self.gains
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "source_weights": self.weights,
            "source_prior": self.prior,
            "source_gains": self.gains,
        }

    def settings(self) -> dict[str, Any]:
        return {"names": list(self.names), "told_apart": self.told_apart}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Sources:
        """The inverse of the two above."""
        learned = arrays["source_weights"], arrays["source_prior"], arrays["source_gains"]
        return cls(tuple(settings["names"]), *learned, float(settings["told_apart"]))


def coded(sources: Sequence[str | None]) -> tuple[tuple[str, ...], Places]:
    """The data sets that are told apart, and the place among them of each prompt's; no names where
    there is nothing to tell.

    >>> names, places = coded(["gsm8k"] * 30 + ["mmlu"] * 40 + [None, "rare"])
    >>> names, places[[0, 30, 70, 71]].tolist()
    (('', 'gsm8k', 'mmlu'), [1, 2, 0, 0])
    """
    sizes = Counter(source for source in sources if source)
    large = [name for name, size in sizes.most_common(MOST) if size >= FEWEST_PROMPTS]
    kept = set(large)
    labels = [source if source in kept else OTHERS for source in sources]
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        names = ()
    place = {name: index for index, name in enumerate(names)}
    return names, np.array([place.get(label, 0) for label in labels], dtype=np.intp)


def fit_telling(design: Design, member: Places, count: int) -> tuple[Single, Single]:
    """(weights float32 [shared words, count], prior float32 [count]), as `Sources` has them.

    A multinomial logistic regression (Cox 1966). Its chances came out calibrated, and a posterior
    is what gains are weighed by; a ridge to 0 and 1 with a fitted temperature names data sets as
    rightly and gains less (decisions/016). At most IN_MEMORY prompts are read, drawn at random.
    """
    some = _drawn(len(member))
    return _fitted(design.words(some), member[some], count)


def told_held_out(design: Design, folds: NDArray[np.intp], member: Places, count: int) -> Matrix:
    """float64 [n, count]: the chances of each prompt by fits that had not seen its fold."""
    some = _drawn(len(member))
    words = design.words(some)
    fits = []
    for fold in range(int(folds.max()) + 1):
        seen = folds[some] != fold
        fits.append(_fitted(words[seen], member[some[seen]], count))
    chances = np.empty((len(member), count))
    for start, part in design.word_chunks():
        here = folds[start : start + len(part)]
        for fold, (weights, prior) in enumerate(fits):
            rows = np.flatnonzero(here == fold)
            chances[start + rows] = softmax((part[rows] @ weights + prior).astype(np.float64))
    return chances


def _drawn(size: int) -> Places:
    """Places of the prompts that data sets are told apart by."""
    random = np.random.default_rng(0)
    return np.sort(random.permutation(size)[:IN_MEMORY])


def _fitted(words: Single, member: Places, count: int) -> tuple[Single, Single]:
    there = _one_of(member, count)
    # One prompt more in each: a data set may have none in these folds.
    prior: Single = np.log((there.sum(axis=0) + 1) / (len(there) + count))

    def slope(scores: Matrix) -> Matrix:
        return softmax(prior + scores) - there

    return descended(words, count, slope, 0.5, PENALTY), prior


def gains_of(member: Places, count: int, residual: Single) -> Single:
    """float32 [count, n_teachers]: mean of `residual` in each data set, shrunk towards 0."""
    there = _one_of(member, count)
    shrunk: Single = (there.T @ residual) / (there.sum(axis=0)[:, None] + np.float32(BORROWED))
    return shrunk


def _one_of(member: Places, count: int) -> Single:
    found: Single = (member[:, None] == np.arange(count)).astype(np.float32)
    return found

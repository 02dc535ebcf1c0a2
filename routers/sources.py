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

from arbitrage.routers.heads import softmax
from arbitrage.routers.pooling import Matrix
from arbitrage.routers.word_columns import Single

# Data sets of fewer prompts, and those beyond the largest, count as one.
FEWEST_PROMPTS, MOST = 20, 32
# Of the ridge that tells data sets apart. A third and three times as much told about as many.
PENALTY = 1.0
# A data set's gain over the language's mean is shrunk as if so many prompts had shown none.
BORROWED = 10.0
OTHERS = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Data sets, how to tell them apart, and their gains.

    Attributes:
        names: of the data sets; OTHERS stands for the small ones and for prompts without a name.
        weights: float32 [shared words, sources], of a ridge to 0 and 1 (Fisher's discriminant).
        prior: float32 [sources], share of the prompts.
        temperature: of the softmax over scores that makes them chances.
        gains: float32 [sources, n_teachers], on top of the language's mean.
        told_apart: share of held-out prompts whose data set was the likeliest, 0 to 1.
    """

    names: tuple[str, ...]
    weights: Single
    prior: Single
    temperature: float
    gains: Single
    told_apart: float

    def added(self, scores: Matrix) -> Matrix:
        """float64 [n, n_teachers]: expected gain.

        Args:
            scores: float [n, sources], words times `weights`.
        """
        return expected_gain(scores + self.prior, self.temperature, self.gains)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "source_weights": self.weights,
            "source_prior": self.prior,
            "source_gains": self.gains,
        }

    def settings(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "temperature": self.temperature,
            "told_apart": self.told_apart,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Sources:
        """The inverse of the two above."""
        learned = (arrays["source_weights"], arrays["source_prior"])
        names, temperature = tuple(settings["names"]), float(settings["temperature"])
        told_apart = float(settings["told_apart"])
        return cls(names, *learned, temperature, arrays["source_gains"], told_apart)


def coded(sources: Sequence[str | None]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
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


def indicators(member: NDArray[np.intp], count: int) -> tuple[Single, Single]:
    """(float32 [n, count] of 0 and 1 less the shares, the shares): what the ridge is fitted to."""
    there = _one_of(member, count)
    prior: Single = there.mean(axis=0)
    return there - prior, prior


def gains_of(member: NDArray[np.intp], count: int, residual: Single) -> Single:
    """float32 [count, n_teachers]: mean of `residual` in each data set, shrunk towards 0."""
    there = _one_of(member, count)
    shrunk: Single = (there.T @ residual) / (there.sum(axis=0)[:, None] + np.float32(BORROWED))
    return shrunk


def expected_gain(scores: Matrix, temperature: float, gains: Single) -> Matrix:
    """float64 [n, n_teachers]: gains weighed by the chance of each data set."""
    found: Matrix = softmax(scores / temperature) @ gains
    return found


def likeliest_temperature(scores: Matrix, member: NDArray[np.intp]) -> float:
    """The temperature at which held-out scores name the data sets with the most likelihood."""
    rows = np.arange(len(member))

    def loss(temperature: float) -> float:
        chances = softmax(scores / temperature)[rows, member]
        return float(-np.log(np.maximum(chances, 1e-12)).mean())

    steps: NDArray[np.float64] = np.logspace(-2, 0.5, 21)
    return float(min(steps, key=loss))


def _one_of(member: NDArray[np.intp], count: int) -> Single:
    found: Single = (member[:, None] == np.arange(count)).astype(np.float32)
    return found

"""How like a prompt is to some of the fit's, as columns of a ridge beside its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.features import Counts, Vocabulary
from arbitrage.routers.word_columns import NO_WORDS, Single, word_chunks

# Likeness is exp(SHARPNESS (cosine - 1)) in the main directions of words.
DIRECTIONS, LANDMARKS, SHARPNESS = 30, 300, 4.0
# Directions are sought among so many prompts at most.
SOUGHT_AMONG = 20_000
# Of what landmarks span, parts that hold less than this of the largest are noise of float32.
SMALLEST = 1e-4


@dataclass(frozen=True, slots=True)
class Likeness:
    """Some prompts of the fit, and the directions in which prompts are compared with them.

    A ridge on these columns is kernel ridge regression in the span of the landmarks (Williams and
    Seeger 2001, "Using the Nystroem method to speed up kernel machines"), the directions are those
    of latent semantic analysis (Deerwester et al. 1990).

    Attributes:
        directions: float32 [words, DIRECTIONS].
        landmarks: float32 [m, DIRECTIONS], each of length 1.
        whitening: float32 [m, width], from likeness to the columns of a ridge.
    """

    directions: Single
    landmarks: Single
    whitening: Single

    @classmethod
    def of(cls, counts: Counts, known: Vocabulary, *, seed: int = 0) -> Likeness:
        """Made without looking at a reward; landmarks are drawn at random."""
        random = np.random.default_rng(seed)
        some = random.permutation(counts.size)[:SOUGHT_AMONG]
        sought = np.zeros(counts.size, np.bool_)
        sought[some] = True
        drawn = np.sort(some[:LANDMARKS])
        gram = np.zeros((len(known), len(known)), np.float32)
        words = []
        for start, part in word_chunks(counts, known, NO_WORDS):
            here = np.arange(start, start + len(part))
            among = part[sought[here]]
            gram += among.T @ among
            words.append(part[np.isin(here, drawn)])
        directions = np.linalg.eigh(gram)[1][:, : -DIRECTIONS - 1 : -1].astype(np.float32)
        landmarks = _unit(np.vstack(words) @ directions)
        sizes, axes = np.linalg.eigh(_alike(landmarks, landmarks).astype(np.float64))
        kept = sizes > SMALLEST * sizes.max(initial=0)
        return cls(directions, landmarks, (axes[:, kept] / np.sqrt(sizes[kept])).astype(np.float32))

    @classmethod
    def nothing(cls) -> Likeness:
        """Of a router that reads no words."""
        return cls(*(np.zeros((0, 0), np.float32) for _ in range(3)))

    @property
    def width(self) -> int:
        return int(self.whitening.shape[1])

    def columns(self, along: Single) -> Single:
        """float32 [n, width].

        Args:
            along: float32 [n, DIRECTIONS], words times `directions`.
        """
        found: Single = _alike(_unit(along), self.landmarks) @ self.whitening
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "directions": self.directions,
            "landmarks": self.landmarks,
            "whitening": self.whitening,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Likeness:
        return cls(arrays["directions"], arrays["landmarks"], arrays["whitening"])


def _alike(points: Single, landmarks: Single) -> Single:
    found: Single = np.exp(np.float32(SHARPNESS) * (points @ landmarks.T - 1))
    return found


def _unit(points: Single) -> Single:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    found: Single = np.divide(points, length, out=np.zeros_like(points), where=length > 0)
    return found

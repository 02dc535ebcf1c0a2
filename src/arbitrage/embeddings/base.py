"""What every embedder promises; a kind of embedder adds one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

from arbitrage.errors import EmbeddingError

Vectors = NDArray[np.float32]

# Lone surrogates are in no encoding, and C strings end at NUL.
_UNSENDABLE = regex.compile("[\x00\ud800-\udfff]")

# Unicode's bound (Annex 15, stream-safe text). Normal forms take time quadratic in such a run.
_MARKS = regex.compile(r"(\p{M}{30})\p{M}+")


def readable(text: str, longest: int) -> str:
    """The first `longest` characters, without lone surrogates, NUL and piles of combining marks.

    >>> readable("ab\\x00c\\ud800", 4)
    'ab c'
    """
    text = text[:longest]
    if text.isascii():
        return text.replace("\x00", " ")
    read: str = _MARKS.sub(r"\1", _UNSENDABLE.sub(" ", text))
    return read


class Embedder(ABC):
    """Turns texts into vectors. Safe to use from several threads.

    Class attributes:
        longest: characters read of one text, from its start. What lies beyond is not embedded.
        batch: most texts handed to `vectors` at once.
    """

    longest: int = 8_000
    batch: int = 256

    @property
    @abstractmethod
    def identity(self) -> str:
        """`kind@version/...` with everything that changes a vector: equal identities give vectors
        that may be compared and cached together. May load the model."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Length of a vector. May load the model."""

    @abstractmethod
    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Float [len(texts), dimensions], not yet normalised, for 1 to `batch` texts that are not
        blank and went through `readable`. A text's row must not depend on the other texts."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Float32 [n, dimensions]: rows of length 1, or of zeros where a text is blank.

        Raises EmbeddingError where the model cannot be had or gives something else.
        """
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        read = [readable(text, self.longest) for text in texts]
        rows = [row for row, text in enumerate(read) if text and not text.isspace()]
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            found = np.asarray(self.vectors([read[row] for row in part]), dtype=np.float32)
            if found.shape != (len(part), self.dimensions):
                raise EmbeddingError(
                    f"{self.identity} gave an array of shape {found.shape} for {len(part)} texts; "
                    f"it should be {(len(part), self.dimensions)}.",
                    mend="Check that the embedder serves the model that its name says.",
                )
            out[part] = unit_rows(found, self.identity)
        return out

    def close(self) -> None:  # noqa: B027 - most embedders hold nothing that has to be given back
        """Release what was loaded; a later `embed` loads it again."""


def unit_rows(vectors: Vectors, identity: str) -> Vectors:
    """The rows at length 1; rows of zeros stay. EmbeddingError for NaN and infinity."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors).astype(np.float64)
        # Squares of very large and very small numbers leave float32.
        doubtful = np.flatnonzero(~(np.isfinite(squares) & (squares > 1e-30)))
        wide = vectors[doubtful].astype(np.float64)
        squares[doubtful] = (wide * wide).sum(axis=1)
        norms = np.sqrt(squares)
    if not np.isfinite(norms).all():
        raise EmbeddingError(
            f"{identity} gave a vector with a value that is not a finite number.",
            mend="Try the model in full precision.",
        )
    lengths = np.where(norms > 0, norms, 1.0)
    wide /= lengths[doubtful, None]
    # Not even the length of a doubtful row is sure to be a float32.
    lengths[doubtful] = 1.0
    unit: Vectors = vectors / lengths.astype(np.float32)[:, None]
    unit[doubtful] = wide
    return unit

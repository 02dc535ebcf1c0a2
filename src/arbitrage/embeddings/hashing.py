"""Character n-grams hashed into a vector: every script, nothing to load, tens of thousands of
texts a second."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arbitrage.embeddings.base import Embedder, Vectors
from arbitrage.embeddings.params import HashingParams

_VERSION = 1
_SPACE = 32
# An odd multiplier of 32 bits with mixed digits: 2 ** 32 / golden ratio.
_STEP = np.uint32(0x9E3779B1)


def folded(text: str) -> str:
    """NFC, case folded, white space as single spaces, one at either end.

    >>> folded("  Straße\\tİ ")
    ' strasse i̇ '
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return f" {' '.join(text.casefold().split())} "


def mixed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finaliser of MurmurHash3, in place: every bit of a value reaches every bit of its hash.

    >>> mixed(np.array([0, 1], dtype=np.uint32)).tolist()
    [0, 1364076727]
    """
    values ^= values >> np.uint32(16)
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


class Hashing(Embedder):
    """Signed counts of character n-grams, damped by the square root.

    Source: feature hashing with a sign (Weinberger et al. 2009, arXiv 0902.2206) over n-grams that
        stay inside a word and know its ends (as `char_wb` of scikit-learn).
    Same on every machine and in every process: no hash of Python's is used. Unicode's stability
        policy keeps folding and NFC of a character as they are once it is assigned.
    Blind spots: it knows spelling and no meaning, so a text and its translation share nothing.
    """

    batch = 1024

    def __init__(self, params: HashingParams) -> None:
        self.params = params

    @property
    def identity(self) -> str:
        params = self.params
        return f"hashing@{_VERSION}/{params.dimensions}/{params.shortest}-{params.longest}"

    @property
    def dimensions(self) -> int:
        return self.params.dimensions

    def vectors(self, texts: Sequence[str]) -> Vectors:
        out = np.empty((len(texts), self.dimensions), dtype=np.float32)
        # 8 MB of counts at a time: more would leave the processor's cache.
        step = max(1, 2**20 // self.dimensions)
        for start in range(0, len(texts), step):
            part = [folded(text) for text in texts[start : start + step]]
            counts = self._counts(part)
            np.sqrt(np.abs(counts), out=out[start : start + step], casting="same_kind")
            np.copysign(out[start : start + step], counts, out=out[start : start + step],
                        casting="same_kind")  # fmt: skip
        return out

    def _counts(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Signed count [len(texts), dimensions] of the n-grams of folded texts."""
        size = self.dimensions
        code = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4").astype(np.uint32)
        space = code == _SPACE
        row = np.repeat(np.arange(len(texts)) * size, [len(text) for text in texts])
        start, value = np.arange(len(code)), code * _STEP
        cells, signs = [], []
        for length in range(1, self.params.longest + 1):
            if length > 1:
                # Grows every n-gram by one character, unless it would cross a space: one may begin
                # with a space, or end with one, and never holds one inside.
                fits = start + (length - 1) < len(code)
                start, value = start[fits], value[fits]
                inside = start + (length - 2)
                grows = ~space[inside] if length > 2 else ~(space[inside] & space[start + 1])
                start, value = start[grows], value[grows]
                value = (value + code[start + (length - 1)]) * _STEP
            if length < self.params.shortest:
                continue
            kept = ~space if length == 1 else slice(None)
            hashed = mixed(value[kept] + np.uint32(length))
            cells.append(row[start[kept]] + (hashed & np.uint32(size - 1)))
            signs.append(1.0 - 2.0 * (hashed >> np.uint32(31)))
        counts: NDArray[np.float64] = np.bincount(
            np.concatenate(cells), weights=np.concatenate(signs), minlength=len(texts) * size
        ).astype(np.float64, copy=False)
        return counts.reshape(len(texts), size)

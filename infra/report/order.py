"""Exact order statistics of any number of float32 values, by counting them: none is kept.

A float32 has 32 bits, which in the order of the values are the digits of a number. The value at a
rank is found digit by digit: the values are counted by the first bits, then those that share the
found ones by the next, in three passes (radix selection).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint32]

# (bits below these, how many) of each pass.
DIGITS = ((21, 11), (10, 11), (0, 10))
_SIGN = np.uint32(1 << 31)


def keys(values: NDArray[np.float32]) -> Keys:
    """uint32 of the same order as the values, -0 as 0. No NaN.

    >>> keys(np.array([-np.inf, -1, -0.0, 0, 1e-45, 2, np.inf], np.float32)).argsort().tolist()
    [0, 1, 2, 3, 4, 5, 6]
    """
    bits = (values + np.float32(0)).view(np.uint32)
    found: Keys = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return found


def value_of(key: int) -> np.float32:
    """The value of a key.

    >>> float(value_of(int(keys(np.array([-2.5], np.float32))[0])))
    -2.5
    """
    number = np.uint32(key)
    bits = number ^ _SIGN if number & _SIGN else ~number
    return np.float32(bits.view(np.float32))


class Ordered:
    """Values of which some ranks are wanted: counted in as many passes as there are `DIGITS`.

    Attributes:
        size: how many values there are, counted in the first pass.
    """

    def __init__(self) -> None:
        self.size = 0
        self._digit = 0
        # What is known of the values that are counted -> how many have each next digit.
        self._counts = {0: _none(0)}
        # Rank -> what is known of its value, and its rank among those of which that is true.
        self._places: dict[int, tuple[int, int]] = {}

    def count(self, values: Keys) -> None:
        """Count some values; in every pass all of them."""
        below, bits = DIGITS[self._digit]
        if not self._digit:
            self.size += len(values)
        for known, counts in self._counts.items():
            some = values[values >> np.uint32(below + bits) == known] if self._digit else values
            digits = (some >> np.uint32(below)) & np.uint32((1 << bits) - 1)
            np.add(counts, np.bincount(digits, minlength=1 << bits), out=counts)

    def seek(self, ranks: Iterable[int]) -> None:
        """Say which ranks are wanted, before the first pass is ended; the least value's is 0."""
        self._places = {rank: (0, rank) for rank in ranks}

    def end_pass(self) -> None:
        """End a pass, in which all values were counted."""
        bits = DIGITS[self._digit][1]
        until = {known: counts.cumsum() for known, counts in self._counts.items()}
        for rank, (known, among) in self._places.items():
            digit = int(np.searchsorted(until[known], among, side="right"))
            before = int(until[known][digit - 1]) if digit else 0
            self._places[rank] = ((known << bits) | digit, among - before)
        self._digit += 1
        if self._digit < len(DIGITS):
            self._counts = {known: _none(self._digit) for known, _ in self._places.values()}

    def __getitem__(self, rank: int) -> np.float32:
        """The value at a rank, after the last pass."""
        return value_of(self._places[rank][0])


def _none(digit: int) -> NDArray[np.int64]:
    return np.zeros(1 << DIGITS[digit][1], np.int64)


def median_ranks(values: int) -> tuple[int, ...]:
    """The one or two ranks whose mean is the median of so many values.

    >>> median_ranks(4), median_ranks(5)
    ((1, 2), (2, 2))
    """
    return (values - 1) // 2, values // 2


def quantile_ranks(values: int, share: float) -> tuple[int, int, float]:
    """The two ranks between which a quantile lies, and how far it is from the first to the second.

    Source: Hyndman and Fan 1996, "Sample Quantiles in Statistical Packages", definition 7, as
    numpy's default.

    >>> quantile_ranks(5, 0.625)
    (2, 3, 0.5)
    """
    place = (values - 1) * share
    low = int(place)
    return low, min(low + 1, values - 1), place - low


def between(low: np.float32, high: np.float32, share: float) -> float:
    """So far from one value to the other, rounded as numpy's quantile is."""
    gap = np.float64(high - low)
    return float(high - gap * (1 - share)) if share >= 0.5 else float(low + gap * share)

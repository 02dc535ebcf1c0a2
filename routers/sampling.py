"""Drawing m of n teachers with exactly known inclusion probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Sampling is done in whole units of 2**-40: sums are exact, so a draw has exactly its fixed size.
_UNIT = 1 << 40


def inclusion_probabilities(probabilities: Matrix, size: int) -> Matrix:
    """pi = min(1, c * p) a row, with c such that the row sums to min(size, teachers with p > 0).

    Args:
        probabilities: float64 [n, teachers], rows sum to 1.
        size: different teachers to draw; at 1, pi is p itself.

    >>> inclusion_probabilities(np.array([[0.8, 0.1, 0.1]]), 2).tolist()
    [[1.0, 0.5, 0.5]]
    """
    if size == 1:
        return probabilities
    possible = probabilities > 0
    wanted = np.minimum(size, possible.sum(axis=1))
    certain = possible & (possible.sum(axis=1) <= size)[:, None]
    # Each turn makes at least one more teacher certain, in some row, or is the last one.
    for _ in range(probabilities.shape[1] + 1):
        rest = np.where(certain, 0, probabilities)
        scale = (wanted - certain.sum(axis=1)) / np.maximum(rest.sum(axis=1), np.finfo(float).tiny)
        shares = np.where(certain, 1.0, rest * scale[:, None])
        more = (shares >= 1) & ~certain
        if not more.any():
            break
        certain |= more
    return shares


def systematic_sample(
    inclusion: Matrix, start: NDArray[np.float64], order: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """bool [n, teachers]: one systematic draw a row, of exactly as many teachers as pi sums to.

    Teachers are laid end to end, each pi long, and taken wherever start + 0, 1, 2 ... falls.
    In one fixed order, neighbours would hardly ever be drawn together, so each row has its own
    order and every pair of teachers can meet.
    Source: Madow 1949, "On the theory of systematic sampling, II"; ordered at random as in
    Goodman and Kish 1950. Joint inclusion probabilities have no closed form and are not computed.

    Args:
        inclusion: float64 [n, teachers] in 0..1, rows sum to whole numbers.
        start: float64 [n] in [0, 1), uniform.
        order: uint64 [n, teachers], the sort key of each teacher in its row.
    """
    places = np.argsort(order, axis=1, kind="stable")
    lengths = np.take_along_axis(_in_units(inclusion), places, axis=1)
    ends = np.cumsum(lengths, axis=1)
    offset = np.floor(start * _UNIT).astype(np.int64)[:, None]
    # Points start + k fall into [begin, end) as often as ceil(end - start) - ceil(begin - start).
    hits = -((offset - ends) // _UNIT) + ((offset - (ends - lengths)) // _UNIT)
    drawn = np.zeros(inclusion.shape, dtype=np.bool_)
    np.put_along_axis(drawn, places, hits > 0, axis=1)
    return drawn


def _in_units(inclusion: Matrix) -> NDArray[np.int64]:
    """pi in whole units, each row summing to a whole number exactly."""
    units = np.rint(inclusion * _UNIT).astype(np.int64)
    surplus = units.sum(axis=1) - np.rint(inclusion.sum(axis=1)).astype(np.int64) * _UNIT
    # The few units of rounding go to the teacher farthest from 0 and from 1.
    middle = np.abs(units - _UNIT // 2).argmin(axis=1)
    units[np.arange(len(units)), middle] -= surplus
    return units


def row_keys(seeds: NDArray[np.uint64], columns: int) -> NDArray[np.uint64]:
    """uint64 [n, columns]: a fixed pseudo-random key for every (seed, column), by splitmix64.

    Source: Steele, Lea and Flood 2014.
    """
    steps = np.arange(1, columns + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = seeds[:, None] + steps
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return keys

"""The most similar earlier row by MinHash signature, found by bands, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Of the rows that share a band, those each is compared with: the first ones, and those just before
# it. What is common to very many (a letter's opening) would else be compared quadratically often.
FIRST_IN_BAND, BEFORE_IN_BAND = 16, 16

# Share of the pairs at the lowest similarity that come up for comparison.
FOUND_AT_LOWEST = 0.98

_PAIRS_AT_ONCE = 16_384
_ROWS_AT_ONCE = 16_384
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: Hashes) -> Hashes:
    """MurmurHash3's 64-bit finalizer: a bijection that spreads every bit over all others."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


def chained(previous: Hashes, values: Hashes) -> Hashes:
    """Hash of a sequence that is one element longer; order counts."""
    return mix(previous * _GOLDEN + values)


def band_shape(permutations: int, lowest: float) -> tuple[int, int]:
    """(bands, slots a band): the widest bands that find 98 % of pairs at the lowest similarity.

    A pair of similarity s shares at least one of b bands of r slots with 1 - (1 - s^r)^b (Leskovec,
    Rajaraman and Ullman, Mining of Massive Datasets, 3.4).

    >>> band_shape(128, 0.7), band_shape(128, 0.8), band_shape(128, 0.95)
    ((25, 5), (18, 7), (8, 16))
    """
    for slots in range(permutations, 1, -1):
        bands = permutations // slots
        if 1 - (1 - lowest**slots) ** bands >= FOUND_AT_LOWEST:
            return bands, slots
    return permutations, 1


def earliest(keys: Hashes, groups: NDArray[np.int32] | None = None) -> Rows:
    """For each row the first row before it with the same keys, -1 where there is none.

    Args:
        keys: [n, k].
        groups: [n]; rows of the same group are not matched with each other. None: all are.

    >>> earliest(np.array([[7], [8], [7], [7]], np.uint64)).tolist()
    [-1, -1, 0, 0]
    >>> earliest(np.array([[7], [7], [7]], np.uint64), np.array([1, 1, 2], np.int32)).tolist()
    [-1, -1, 0]
    """
    return twins_and_targets(keys, groups)[0]


def twins_and_targets(
    keys: Hashes, groups: NDArray[np.int32] | None
) -> tuple[Rows, NDArray[np.bool_]]:
    """`earliest`, and which rows (bool [n]) have to be compared with others or be compared to.

    Of equal rows the first is enough to compare to; where rows of a group ignore each other, so is
    the first one of another group beside it.
    """
    twins = np.full(len(keys), -1, np.int64)
    needed = np.ones(len(keys), np.bool_)
    if not len(keys):
        return twins, needed
    order = np.lexsort(keys.T)  # stable: equal keys stay in row order
    begins, runs = _runs((np.diff(keys[order], axis=0) != 0).any(axis=1))
    targets = first = order[begins][runs]
    if groups is not None:
        # For rows of the first one's group: the first one of another group, if there is any.
        other = np.where(groups[order] != groups[first], order, len(keys))
        seconds = np.minimum.reduceat(other, begins)
        targets = np.concatenate([first, seconds[seconds < len(keys)]])
        first = np.where(groups[order] == groups[first], seconds[runs], first)
    twins[order] = np.where(first < order, first, -1)
    needed = twins < 0
    needed[targets] = True
    return twins, needed


def nearest_earlier(
    signatures: NDArray[np.uint32],
    rows: Rows,
    scopes: NDArray[np.int32],
    groups: NDArray[np.int32] | None,
    *,
    asking: NDArray[np.bool_],
    lowest: float,
) -> tuple[NDArray[np.float32], Rows]:
    """For each of some rows the most similar earlier one among them, the first of equals.

    Args:
        signatures: [n, slots], may be memory-mapped: what it holds is read once in order for the
            bands and then pair by pair.
        rows: ascending, the rows that take part, [m].
        scopes: [m], rows of different scopes are not compared.
        groups: [m], rows of the same group are not compared; None compares them.
        asking: bool [m], for whom an earlier one is looked for.
        lowest: similarities below it are not looked for.

    Returns:
        Similarity (share of equal slots; 0 where none was found) and row (-1 there), both [m].

    Memory beside the arguments: 4 bytes a row and band, and about 50 bytes a row.
    """
    best = np.zeros(len(rows), np.float32)
    of = np.full(len(rows), -1, np.int64)
    if not len(rows):
        return best, of
    for band in _bands(signatures, rows, scopes, lowest):
        for later, earlier in _candidate_pairs(band):
            asked = asking[later] & (of[later] != earlier)
            if groups is not None:
                asked &= groups[later] != groups[earlier]
            some, others = later[asked], earlier[asked]
            for start in range(0, len(some), _PAIRS_AT_ONCE):
                part = slice(start, start + _PAIRS_AT_ONCE)
                i, j = some[part], others[part]
                equal = signatures[rows[i]] == signatures[rows[j]]
                similarity = equal.mean(axis=1, dtype=np.float32)
                nearer = (similarity > best[i]) | ((similarity == best[i]) & (j < of[i]))
                nearer &= similarity >= np.float32(lowest)
                best[i[nearer]], of[i[nearer]] = similarity[nearer], j[nearer]
    return best, np.where(of >= 0, rows[of], -1)


def _bands(
    signatures: NDArray[np.uint32], rows: Rows, scopes: NDArray[np.int32], lowest: float
) -> NDArray[np.uint32]:
    """uint32 [bands, m]: hash of each band of each row, with its scope in it.

    32 bits: the few pairs that share a hash and not a band are found out when they are compared.
    """
    bands, slots = band_shape(signatures.shape[1], lowest)
    hashes = np.empty((bands, len(rows)), np.uint32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        read = signatures[rows[part]]
        for band in range(bands):
            value = mix(scopes[part].astype(np.uint64) + np.uint64(1))
            for slot in range(band * slots, (band + 1) * slots):
                value = chained(value, read[:, slot].astype(np.uint64))
            hashes[band, part] = value.astype(np.uint32)
    return hashes


def _candidate_pairs(band: NDArray[np.uint32]) -> Iterator[tuple[Rows, Rows]]:
    """(later, earlier) rows that share the band; in each yield no later row comes twice."""
    order = np.argsort(band, kind="stable")
    begins, runs = _runs(np.diff(band[order]) != 0)
    sizes = np.diff(begins, append=len(order))
    shared = sizes[runs] > 1
    order, first = order[shared], np.repeat(begins, sizes)[shared]
    place = np.arange(len(band))[shared] - first
    # Places in `order` are now those of rows that share the band with another.
    start = np.arange(len(order)) - place
    for back in range(1, BEFORE_IN_BAND + 1):
        later = np.flatnonzero(place >= back)
        if not len(later):
            return
        yield order[later], order[later - back]
    for at in range(FIRST_IN_BAND):
        later = np.flatnonzero(place > at + BEFORE_IN_BAND)
        if not len(later):
            return
        yield order[later], order[start[later] + at]


def _runs(changes: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Where runs of equal elements begin, and the number of each element's run."""
    starts = np.concatenate([[True], changes])
    return np.flatnonzero(starts), np.cumsum(starts) - 1

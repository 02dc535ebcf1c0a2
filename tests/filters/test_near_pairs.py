"""The most similar earlier row, against a comparison of every row with every other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from arbitrage.filters.near_pairs import (
    BEFORE_IN_BAND,
    FIRST_IN_BAND,
    band_shape,
    earliest,
    nearest_earlier,
    twins_and_targets,
)

SLOTS = 32


def signatures(rows: list[list[int]]) -> NDArray[np.uint32]:
    return np.array(rows, np.uint32).reshape(len(rows), -1)


def plain_earliest(keys: list[int], groups: list[int] | None) -> list[int]:
    def matches(later: int, row: int) -> bool:
        return keys[row] == keys[later] and (groups is None or groups[row] != groups[later])

    return [
        next((row for row in range(later) if matches(later, row)), -1) for later in range(len(keys))
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12), st.booleans())
def test_the_earliest_equal_row_is_the_earliest(rows: list[tuple[int, int]], grouped: bool) -> None:
    keys, groups = [key for key, _ in rows], [group for _, group in rows]
    found = earliest(
        np.array(keys, np.uint64).reshape(-1, 1), np.array(groups, np.int32) if grouped else None
    )
    assert found.tolist() == plain_earliest(keys, groups if grouped else None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_what_is_left_to_compare_to_holds_an_equal_of_another_group_for_every_row(
    rows: list[tuple[int, int]],
) -> None:
    """Whichever group asks: what it may be told is among the targets, and is the first such row."""
    keys, groups = [key for key, _ in rows], [group for _, group in rows]
    twins, needed = twins_and_targets(
        np.array(keys, np.uint64).reshape(-1, 1), np.array(groups, np.int32)
    )
    assert (needed | (twins >= 0)).all()
    for key in set(keys):
        for asking in range(4):
            holders = [r for r in range(len(rows)) if keys[r] == key and groups[r] != asking]
            assert not holders or needed[holders[0]]


@st.composite
def near_rows(draw: st.DrawFn) -> NDArray[np.uint32]:
    """Rows made from a few others by changing some slots; few enough that no band overflows."""
    bases = draw(st.lists(st.lists(st.integers(1, 9), min_size=SLOTS, max_size=SLOTS), min_size=1))
    rows = []
    for number in range(draw(st.integers(0, 14))):
        row = list(bases[number % len(bases)])
        for slot in draw(st.lists(st.integers(0, SLOTS - 1), max_size=6)):
            row[slot] = draw(st.integers(10, 99))
        rows.append(row)
    return signatures(rows) if rows else np.zeros((0, SLOTS), np.uint32)


@settings(deadline=None)
@given(near_rows(), st.integers(1, 3), st.booleans(), st.sampled_from([0.5, 0.7, 0.9]))
def test_what_shares_a_band_is_compared_and_nothing_else_is_reported(
    rows: NDArray[np.uint32], number: int, grouped: bool, lowest: float
) -> None:
    """Every reported similarity is that of the pair; the best pair is missed only where it shares
    no band, and then something no better is reported."""
    count = len(rows)
    scopes = (np.arange(count) % number).astype(np.int32)
    groups = (np.arange(count) // 3).astype(np.int32) if grouped else None
    asking = np.ones(count, bool)
    found, of = nearest_earlier(
        rows, np.arange(count), scopes, groups, asking=asking, lowest=lowest
    )
    bands, slots = band_shape(SLOTS, lowest)
    for later in range(count):
        allowed = [
            row
            for row in range(later)
            if scopes[row] == scopes[later] and (groups is None or groups[row] != groups[later])
        ]
        equal = {row: (rows[row] == rows[later]) for row in allowed}
        sharing = [
            row
            for row in allowed
            if any(equal[row][b * slots : (b + 1) * slots].all() for b in range(bands))
        ]
        close = [row for row in sharing if equal[row].mean() >= np.float32(lowest)]
        best = max(close, key=lambda row: (equal[row].mean(), -row), default=-1)
        assert of[later] == best
        assert found[later] == (np.float32(equal[best].mean()) if best >= 0 else 0)


def test_of_very_many_alike_each_is_compared_with_the_first_and_the_nearest() -> None:
    """One band in common to all: linear work, and the nearest neighbour in order is still found."""
    rng = np.random.default_rng(0)
    count = 400
    rows = rng.integers(1, 2**32, (count, 128), dtype=np.uint32)
    rows[:, :5] = 7
    rows[300:] = rows[300]
    rows[300:, -1] = np.arange(100)
    found, of = nearest_earlier(
        rows, np.arange(count), np.zeros(count, np.int32), None,
        asking=np.ones(count, bool), lowest=0.7,
    )  # fmt: skip
    assert (of[:301] == -1).all()
    assert (of[301:] >= 300).all()
    assert found[301:] == pytest.approx(127 / 128)
    assert FIRST_IN_BAND + BEFORE_IN_BAND < 100


@pytest.mark.parametrize("permutations", [16, 64, 100, 128, 256])
@pytest.mark.parametrize("lowest", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_fit_into_the_signature_and_find_what_they_promise(
    permutations: int, lowest: float
) -> None:
    bands, slots = band_shape(permutations, lowest)
    assert bands * slots <= permutations
    assert slots == 1 or 1 - (1 - lowest**slots) ** bands >= 0.98

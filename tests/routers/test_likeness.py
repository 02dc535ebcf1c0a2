"""Likeness to landmarks, and how much of it beside words is believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import matrix_chunks
from arbitrage.routers.features import Counts, features, vocabulary, weighed
from arbitrage.routers.likeness import (
    SIZES,
    Alike,
    Likeness,
    fit_alike,
    held_out_alike,
)
from arbitrage.routers.stacking import stacked

RIVERS = [f"Tell a story about a river and {thing}." for thing in ("rain", "stone", "fish", "sea")]
SUMS = [f"Add the numbers {n} and {n + 1}." for n in range(4)]


def counted(texts: list[str]) -> Counts:
    size = len(texts)
    return features(PromptBatch([str(n) for n in range(size)], texts, ["en"] * size, [None] * size))


@pytest.mark.parametrize("size", SIZES)
def test_prompts_of_one_kind_are_more_alike_than_those_of_two(size: int) -> None:
    counts = counted((RIVERS + SUMS) * 9)
    likeness = Likeness.of(counts)
    landmarks = likeness.near(likeness.landmarks, size)
    np.testing.assert_allclose(np.diag(landmarks), 1, atol=1e-5)
    near = likeness.near(likeness.points(counted([*RIVERS, *SUMS])), size)
    assert ((near > 0) & (near <= 1.0001)).all()
    rows = near / np.linalg.norm(near, axis=1, keepdims=True)
    alike = rows @ rows.T
    assert alike[:4, :4].min() > alike[:4, 4:].max()


def test_a_prompt_is_placed_by_itself_and_one_without_known_words_gains_something_finite() -> None:
    likeness = Likeness.of(counted((RIVERS + SUMS) * 9))
    texts = [RIVERS[0], "", "zzz", SUMS[1]]
    together = likeness.points(counted(texts))
    alone = np.vstack([likeness.points(counted([text])) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    weights = np.ones((len(SIZES), len(likeness.landmarks), 2), np.float32)
    assert np.isfinite(likeness.gains(together, weights)).all()


@pytest.mark.parametrize("texts", [["one"], ["", ""], ["a b", "c d", "e f"]])
def test_a_handful_of_prompts_gives_a_likeness_all_the_same(texts: list[str]) -> None:
    likeness = Likeness.of(counted(texts))
    points = likeness.points(counted(texts))
    left = np.ones((len(texts), 2), np.float32)
    weights = fit_alike(likeness, points, left, [Alike(2.0, size) for size in SIZES])
    assert np.isfinite(likeness.gains(points, weights)).all()


def test_what_is_predicted_of_a_fold_does_not_know_its_rewards() -> None:
    counts = counted((RIVERS + SUMS) * 9)
    likeness = Likeness.of(counts)
    points = likeness.points(counts)
    rewards = np.random.default_rng(0).random((counts.size, 3))
    folds = np.arange(counts.size) % 3
    bases = [np.full(rewards.shape, 0.5)] * 3
    changed = np.where(folds[:, None] == 1, 1 - rewards, rewards)
    before = held_out_alike(likeness, points, rewards, bases, folds)
    after = held_out_alike(likeness, points, changed, bases, folds)
    for setting, gains in before.items():
        np.testing.assert_array_equal(gains[folds == 1], after[setting][folds == 1])
        assert not np.allclose(gains[folds == 0], after[setting][folds == 0])


def test_a_fit_is_what_was_held_out_when_nothing_is() -> None:
    counts = counted((RIVERS + SUMS) * 9)
    likeness = Likeness.of(counts)
    points = likeness.points(counts)
    rewards = np.random.default_rng(0).random((counts.size, 3))
    base = np.full(rewards.shape, 0.5)
    # The rows of fold 1 have no reward, so a fit on all rows learns from those of fold 0 alone.
    folds = np.arange(counts.size) % 2
    held = held_out_alike(likeness, points, rewards, [base, base], folds)
    inside = folds == 0
    for setting, gains in held.items():
        left = (rewards - base)[inside].astype(np.float32)
        weights = fit_alike(likeness, points[inside], left, [setting])
        found = likeness.gains(points[~inside], weights)
        np.testing.assert_allclose(found, gains[~inside], atol=1e-3)


def test_words_are_weighed_as_the_matrix_would() -> None:
    counts = counted([*RIVERS, "", *SUMS, "zzz"] * 20)
    known = vocabulary(counts.rows[counts.rows < 4], counts.bins[counts.rows < 4], 30)
    none = vocabulary(counts.rows[:0], counts.bins[:0], 0)
    weights = np.random.default_rng(0).random((len(known), 3), dtype=np.float32)
    matrix = np.vstack([part for _, part in matrix_chunks(counts, known, none)])
    np.testing.assert_allclose(
        weighed(counts, counts.bins, known, weights), matrix @ weights, atol=1e-5
    )
    assert not weighed(counts, counts.bins, none, weights[:0]).any()


def test_a_part_of_the_counts_is_the_counts_of_a_part() -> None:
    texts = [*RIVERS, "", *SUMS]
    rows = np.array([1, 4, 7])
    part, own = counted(texts).part(rows), counted([texts[row] for row in rows])
    assert part.size == own.size
    for name in ("rows", "bins", "paired", "values"):
        np.testing.assert_array_equal(getattr(part, name), getattr(own, name))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_stacking_is_never_farther_off_than_nothing_or_than_either_alone(
    seed: int, gaps: bool
) -> None:
    random = np.random.default_rng(seed)
    rewards, base = random.random((12, 3)), random.random((12, 3))
    gains = [random.standard_normal((12, 3)), random.standard_normal((12, 3))]
    if gaps:
        rewards[random.random((12, 3)) < 0.3] = np.nan
        base[:4, 1] = -np.inf
    known = ~np.isnan(rewards) & np.isfinite(base)

    def off(weights: tuple[float, ...]) -> float:
        left = np.where(known, rewards - base, np.nan)
        left = left - sum(part * gain for part, gain in zip(weights, gains, strict=True))
        rows = left[known.any(axis=1)]
        return float(np.nansum((rows - np.nanmean(rows, axis=1, keepdims=True)) ** 2))

    found = stacked(gains, rewards, base)
    assert min(found) >= 0
    for others in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (found[0] * 0.9, found[1])):
        assert off(found) <= off(others) + 1e-9


def test_what_all_teachers_of_a_prompt_share_is_not_stacked() -> None:
    random = np.random.default_rng(0)
    rewards = random.random((30, 3))
    right, other = rewards / 3, random.random((30, 3))
    shift = random.random((30, 1))
    found = stacked([right, other], rewards, np.zeros((30, 3)))
    moved = stacked([right + shift, other - shift], rewards + 5 * shift, np.zeros((30, 3)))
    assert found == pytest.approx((3, 0), abs=1e-6)
    assert moved == pytest.approx(found, abs=1e-6)

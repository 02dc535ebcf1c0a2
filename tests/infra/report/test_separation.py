"""Which teachers are told apart: what is sure is found, what is chance is not."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.infra.report.ratios import Ratios
from arbitrage.infra.report.separation import FEWEST_PROMPTS, student
from arbitrage.infra.report.separation import told_apart as told_apart_by


def told_apart(sums: np.ndarray, counts: np.ndarray, kinds: np.ndarray, seed: int) -> np.ndarray:
    """By what each prompt has, [prompts, measures, teachers]."""
    prompts, measures, teachers = sums.shape
    ratios = Ratios(measures * teachers)
    ratios.add(sums.reshape(prompts, -1), counts.reshape(prompts, -1))
    columns = np.arange(measures * teachers).reshape(measures, teachers)
    return told_apart_by(ratios, columns, kinds, seed)


def shares(*passes: int, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of one share: so many of the prompts pass, of each teacher other ones."""
    sums = np.zeros((prompts * len(passes), 1, len(passes)))
    counts = np.zeros_like(sums)
    for teacher, passing in enumerate(passes):
        own = slice(teacher * prompts, (teacher + 1) * prompts)
        counts[own, 0, teacher] = 1
        sums[teacher * prompts : teacher * prompts + passing, 0, teacher] = 1
    return sums, counts


def apart(*passes: int, prompts: int) -> bool:
    sums, counts = shares(*passes, prompts=prompts)
    return bool(told_apart(sums, counts, np.array([True]), 0)[0, 0, 1])


def test_all_against_none_is_told_apart_and_all_against_nearly_all_is_not() -> None:
    assert apart(9, 0, prompts=9)
    assert not apart(9, 8, prompts=9)
    assert not apart(9, 9, prompts=9)


def test_under_five_prompts_nothing_is_said() -> None:
    assert not apart(FEWEST_PROMPTS - 1, 0, prompts=FEWEST_PROMPTS - 1)


def test_a_gap_that_two_teachers_prove_is_not_proven_among_many_measures() -> None:
    sums, counts = shares(10, 4, prompts=12)
    assert told_apart(sums, counts, np.array([True]), 0).any()
    generator = np.random.default_rng(1)
    others = generator.normal(size=(len(sums), 40, 2)) * counts
    measures = np.array([True] + [False] * 40)
    found = told_apart(
        np.concatenate([sums, others], axis=1), np.repeat(counts, 41, axis=1), measures, 0
    )
    assert not found[0].any()


def test_answers_to_the_same_prompts_are_compared_in_pairs() -> None:
    generator = np.random.default_rng(2)
    hard = generator.normal(0, 10, 60)
    better = hard + generator.normal(1, 0.5, 60)
    values = np.stack([hard, better], axis=1)[:, None, :]
    paired = told_apart(values, np.ones_like(values), np.array([False]), 0)
    assert paired[0, 0, 1]
    values[:, 0, 1] = generator.permutation(better)
    assert not told_apart(values, np.ones_like(values), np.array([False]), 0).any()


@pytest.mark.parametrize("prompts", [12, 60])
def test_of_teachers_that_are_alike_few_languages_have_a_false_word(prompts: int) -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for run in range(80):
        alike = generator.normal(size=(prompts, 3, 4)) + generator.normal(size=(prompts, 1, 1))
        passes = (generator.random((prompts, 2, 4)) < 0.9).astype(float)
        sums = np.concatenate([alike, passes], axis=1)
        kinds = np.array([False] * 3 + [True] * 2)
        wrong += bool(told_apart(sums, np.ones_like(sums), kinds, run).any())
    assert wrong <= 10  # 4 are expected


def test_the_relation_is_symmetric_and_no_teacher_differs_from_itself() -> None:
    sums, counts = shares(20, 2, 11, prompts=20)
    found = told_apart(sums, counts, np.array([True]), 0)
    assert np.array_equal(found, found.transpose(0, 2, 1))
    assert not found[0].diagonal().any()


def test_a_gap_without_any_spread_takes_prompts_enough() -> None:
    constant = np.tile([0.25, 0.75], (40, 1))[:, None, :]
    beside = np.random.default_rng(4).normal(size=(40, 5, 2))
    values = np.concatenate([constant, beside], axis=1)
    kinds = np.array([False] * 6)
    assert told_apart(values, np.ones_like(values), kinds, 0)[0, 0, 1]
    assert not told_apart(values[:6], np.ones_like(values[:6]), kinds, 0).any()


def test_where_nothing_was_measured_nobody_is_told_apart() -> None:
    nothing = np.zeros((20, 1, 2))
    assert not told_apart(nothing, nothing, np.array([False]), 0).any()
    assert told_apart(nothing[:, :0], nothing[:, :0], np.zeros(0, bool), 0).shape == (0, 2, 2)


def test_few_prompts_widen_what_counts() -> None:
    quantiles = student(3.0, np.array([4, 10, 100, 10**6]))
    assert (np.diff(quantiles) < 0).all()
    assert quantiles[-1] == pytest.approx(3.0, abs=1e-4)

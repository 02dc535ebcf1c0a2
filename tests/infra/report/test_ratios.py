"""Errors of ratios from sums alone are those of all prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.report.ratios import Ratios
from arbitrage.intervals import linear_errors


def drawn(seed: int, prompts: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (prompts, 3)).astype(np.float64)
    sums = counts * level + np.sqrt(counts) * rng.normal(size=counts.shape)
    return sums, counts


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    level=st.sampled_from([0.0, 1.0, -1e3, 1e6]),
)
def test_products_are_those_of_the_errors_however_the_prompts_come(
    seed: int, cuts: list[int], level: float
) -> None:
    sums, counts = drawn(seed, 60, level)
    ratios = Ratios(3)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        ratios.add(sums[start:stop], counts[start:stop])
    errors = linear_errors(sums, counts)
    assert ratios.prompts == 60
    assert ratios.means == pytest.approx(sums.sum(axis=0) / counts.sum(axis=0))
    expected = errors.T @ errors
    # Of values some 10**6 apart from 0 the prompts' own errors have ten digits left.
    assert ratios.products() == pytest.approx(expected, rel=1e-6, abs=1e-9 * expected.max())


def test_a_column_that_comes_later_was_not_measured_before() -> None:
    sums, counts = drawn(1, 50, 7.0)
    sums[:20, 2] = counts[:20, 2] = 0
    ratios = Ratios(2)
    ratios.add(sums[:20, :2], counts[:20, :2])
    ratios.widen(1)
    ratios.add(sums[20:], counts[20:])
    errors = linear_errors(sums, counts)
    assert ratios.products() == pytest.approx(errors.T @ errors)
    assert ratios.measured.tolist() == (counts > 0).sum(axis=0).tolist()


def test_what_was_never_measured_and_what_is_infinite_spoil_their_own_column_only() -> None:
    sums, counts = drawn(2, 30, 1.0)
    sums[:, 0] = counts[:, 0] = 0
    counts[3, 1], sums[3, 1] = 1, np.inf
    ratios = Ratios(3)
    ratios.add(sums, counts)
    products = ratios.products()
    assert np.isnan(products[0, 0])
    assert not np.isfinite(products[1, 1])
    errors = linear_errors(sums[:, 2:], counts[:, 2:])
    assert products[2, 2] == pytest.approx(float((errors**2).sum()))
    assert not ratios.positive[2] or not ratios.negative[2]

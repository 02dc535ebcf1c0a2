"""Values found by counting are those of a sorted array, to the last bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.report.order import (
    DIGITS,
    Ordered,
    between,
    keys,
    median_ranks,
    quantile_ranks,
    value_of,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
some = st.lists(finite, min_size=1, max_size=60)


def ordered(values: np.ndarray, ranks: set[int], batches: int = 3) -> Ordered:
    found = Ordered()
    for number in range(len(DIGITS)):
        for part in np.array_split(values, batches):
            found.count(keys(part))
        if not number:
            found.seek(ranks)
        found.end_pass()
    return found


@given(some)
def test_every_rank_is_that_of_the_sorted_values(drawn: list[float]) -> None:
    values = np.array(drawn, np.float32)
    found = ordered(values, set(range(len(values))))
    assert found.size == len(values)
    assert [found[rank] for rank in range(len(values))] == np.sort(values).tolist()


@given(st.floats(width=32, allow_nan=False))
def test_a_key_is_its_value(value: float) -> None:
    (key,) = keys(np.array([value], np.float32))
    assert value_of(int(key)) == np.float32(value)


@given(some, st.sampled_from([0.005, 0.3, 0.5, 0.995]))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_quantile_is_numpys(drawn: list[float], share: float) -> None:
    values = np.array(drawn, np.float32)
    below, above, part = quantile_ranks(len(values), share)
    found = ordered(values, {below, above})
    expected = np.quantile(values, (share,))[0]
    assert between(found[below], found[above], part) == pytest.approx(expected, rel=0, nan_ok=True)


@given(some)
def test_a_median_is_that_of_polars(drawn: list[float]) -> None:
    values = np.array(drawn, np.float32)
    found = ordered(values, set(median_ranks(len(values))))
    middle = [found[rank] for rank in median_ranks(len(values))]
    assert pl.Series(middle, dtype=pl.Float32).median() == pl.Series(values).median()

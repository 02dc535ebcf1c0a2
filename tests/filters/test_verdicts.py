from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import ConfigError, FilterError
from arbitrage.filters.base import FilterParams
from arbitrage.filters.verdicts import Verdict, decide, rules, verdicts_of

pytestmark = pytest.mark.usefixtures("marks_registered")

MARKS, SHARE = "test_marks.marks", "test_marks.share"
numbers = st.floats(-100, 100, width=32)
rows_of_scores = st.lists(
    st.fixed_dictionaries(
        {
            MARKS: st.none() | numbers,
            SHARE: st.none() | numbers,
            "error": st.none() | st.sampled_from(["generate.timeout", "generate.refused"]),
            "text": st.none() | st.sampled_from(["", "नमस्ते"]),
        }
    ),
    max_size=30,
)
policies = st.sampled_from(["keep", "reject"])


@pytest.fixture(name="decided", scope="session")
def _decided(config_of: Any, scored: Any) -> Any:
    """(kept, reasons) of each row under these params and this selection."""

    def decided(filters: dict[str, Any], rows: list[dict[str, Any]], **select: Any) -> list[Any]:
        config = config_of({"test_marks": filters}, **select)
        verdicts = decide(scored(config, rows), config)
        assert verdicts.reasons.type == pa.list_(pa.string())
        return list(zip(verdicts.kept.tolist(), verdicts.reasons.to_pylist(), strict=True))

    return decided


@pytest.mark.parametrize("state", ["pass", "reject", "abstain"])
def test_no_verdict_is_true_or_false(state: Any) -> None:
    with pytest.raises(TypeError, match="compare its state"):
        bool(Verdict(state))


def test_bounds_are_inclusive_and_give_their_cause(decided: Any) -> None:
    rows = [{MARKS: n} for n in (1, 2, 5, 6)]
    assert decided({"min_marks": 2, "max_marks": 5}, rows) == [
        (False, ["test_marks.min_marks"]),
        (True, []),
        (True, []),
        (False, ["test_marks.too_long"]),
    ]


def test_a_score_equal_to_the_written_bound_passes_although_it_is_no_float32(decided: Any) -> None:
    assert decided({"max_marks": 0.1, "min_marks": 0.1}, [{MARKS: 0.1}]) == [(True, [])]


def test_every_broken_bound_is_a_reason(decided: Any) -> None:
    assert decided({"max_marks": 1, "min_share": 0.5}, [{MARKS: 2, SHARE: 0.1}]) == [
        (False, ["test_marks.too_long", "test_marks.min_share"])
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("keep", (True, [])), ("reject", (False, ["test_marks.abstained"]))],
)
def test_abstaining_keeps_or_rejects_as_told_and_is_said_once(
    decided: Any, policy: str, expected: Any
) -> None:
    filters = {"min_marks": 1, "max_marks": 9, "min_share": 0.1, "on_abstain": policy}
    assert decided(filters, [{}]) == [expected]


def test_a_measure_that_nothing_decides_on_may_abstain(decided: Any) -> None:
    assert decided({"on_abstain": "reject", "min_marks": 1}, [{MARKS: 3}]) == [(True, [])]


def test_constraints_decide_like_thresholds(decided: Any) -> None:
    constraints = {MARKS: {"min": 2}, SHARE: {"max": 0.5}}
    rows: list[dict[str, Any]] = [{MARKS: 1, SHARE: 0.9}, {MARKS: 2, SHARE: 0.5}, {}]
    reasons = ["test_marks.min_marks", "test_marks.max_share"]
    assert decided({}, rows, constraints=constraints) == [(False, reasons), (True, []), (True, [])]
    rejecting = {"on_abstain": "reject", "min_marks": 1}
    assert decided(rejecting, rows, constraints=constraints)[2] == (
        False,
        ["test_marks.abstained"],
    )


def test_a_threshold_and_a_constraint_on_one_measure_give_their_reason_once(decided: Any) -> None:
    rows = [{MARKS: 1}, {MARKS: 3}, {MARKS: 5}]
    assert decided({"min_marks": 2}, rows, constraints={MARKS: {"min": 4}}) == [
        (False, ["test_marks.min_marks"]),
        (False, ["test_marks.min_marks"]),
        (True, []),
    ]


def test_a_failed_row_has_its_error_as_its_one_reason(decided: Any) -> None:
    rows = [
        {"text": None, "error": "generate.timeout", MARKS: 0},
        {MARKS: 0},
        {"text": None, "error": "generate.refused"},
        {"text": None},
        {"text": "cut", "error": "generate.timeout", MARKS: 9},
    ]
    assert decided({"min_marks": 1, "on_abstain": "reject"}, rows) == [
        (False, ["generate.timeout"]),
        (False, ["test_marks.min_marks"]),
        (False, ["generate.refused"]),
        (False, ["generate.no_text"]),
        (False, ["generate.timeout"]),
    ]


def test_without_bounds_everything_that_has_a_text_is_kept(decided: Any) -> None:
    assert decided({}, [{}, {MARKS: 1}]) == [(True, []), (True, [])]
    assert decided({}, []) == []


limits = st.fixed_dictionaries(
    {"on_abstain": policies},
    optional={"min_marks": numbers, "max_marks": numbers, "min_share": numbers},
)


@given(rows_of_scores, limits)
def test_kept_means_no_reasons_and_rows_agree_with_their_own_verdicts(
    config_of: Any,
    scored: Any,
    rows: list[dict[str, Any]],
    limits: dict[str, Any],
) -> None:
    config = config_of({"test_marks": limits})
    table = scored(config, rows)
    verdicts = decide(table, config)
    reasons = verdicts.reasons.to_pylist()
    for row, kept, why in zip(table.to_pylist(), verdicts.kept, reasons, strict=True):
        single = verdicts_of(row, config).values()
        rejections = [v.reason for v in single if v.state == "reject"]
        assert set(rejections) == set(why)
        assert len(why) == len(set(why))
        assert kept == (why == [])


@given(rows_of_scores, numbers, numbers, policies)
def test_raising_a_minimum_never_keeps_more_and_lowering_a_maximum_neither(
    decided: Any, rows: list[dict[str, Any]], one: float, other: float, on: str
) -> None:
    low, high = sorted([one, other])

    def kept(**filters: float) -> np.ndarray[Any, Any]:
        return np.array([row[0] for row in decided({**filters, "on_abstain": on}, rows)], bool)

    assert not (kept(min_marks=high) & ~kept(min_marks=low)).any()
    assert not (kept(max_marks=low) & ~kept(max_marks=high)).any()


def test_a_threshold_without_its_measure_is_an_error(
    config_of: Any, marks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of({"test_marks": {"min_share": 1}})
    monkeypatch.setattr(marks, "measures", ("marks",))
    with pytest.raises(FilterError, match=r'"min_share" and no measure "share".*Known: marks'):
        rules(config)


def test_a_nan_bound_is_an_error_because_nothing_would_break_it(config_of: Any) -> None:
    with pytest.raises((FilterError, ConfigError), match=r"(?i)nan"):
        rules(config_of({"test_marks": {"min_marks": float("nan")}}))


def test_a_bound_on_an_unknown_measure_is_a_config_error(config_of: Any) -> None:
    with pytest.raises(ConfigError, match=r"test_marks\.mark.*Did you mean"):
        config_of(constraints={"test_marks.mark": {"min": 1}})


def test_an_undeclared_score_column_is_an_error(config_of: Any, scored: Any) -> None:
    config = config_of({"test_marks": {"min_marks": 1}})
    with pytest.raises(FilterError, match="Score them first"):
        decide(scored(config_of({}), [{}]), config)


def test_thresholds_are_the_set_min_and_max_fields() -> None:
    class Params(FilterParams):
        min_a: float | None = 1
        max_a: float | None = None
        mode: str = "x"

    assert Params().thresholds() == {"min_a": 1.0}
    assert Params.deciding_fields() == {"min_a", "max_a", "on_abstain"}

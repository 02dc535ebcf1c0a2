from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage import schema
from arbitrage.errors import FilterError
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import score_columns
from arbitrage.filters.selection import (
    choose,
    decide_table,
    graveyard_rows,
    objective_values,
    weighted_measures,
)

pytestmark = pytest.mark.usefixtures("marks_registered")

MARKS, SHARE = "test_marks.marks", "test_marks.share"
LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en", "zh-Hant"]
numbers = st.floats(-1000, 1000, width=32)
rows_of_scores = st.lists(
    st.fixed_dictionaries(
        {
            "prompt_id": st.sampled_from("pqrs"),
            "language": st.sampled_from(LANGUAGES),
            "teacher": st.sampled_from(["a", "b"]),
            MARKS: st.none() | numbers | st.sampled_from([1.0, 2.0]),
            SHARE: st.none() | numbers | st.just(0.1),
            "error": st.none() | st.none() | st.just("generate.timeout"),
        }
    ),
    max_size=40,
)


def ids_chosen(decided: pa.Table) -> list[str]:
    return [row["candidate_id"] for row in decided.to_pylist() if row["chosen"]]


def plain_z(rows: list[dict[str, Any]], measure: str) -> list[float]:
    """The z-scores by the book: row by row, in exact sums."""
    scores = []
    for row in rows:
        own = [r[measure] for r in rows if r["language"] == row["language"]]
        own = [x for x in own if x is not None]
        if row[measure] is None:
            scores.append(math.nan)
            continue
        mean = math.fsum(own) / len(own)
        spread = math.sqrt(math.fsum((x - mean) ** 2 for x in own) / len(own))
        same = min(own) == max(own)
        scores.append(0.0 if same else (row[measure] - mean) / spread)
    return scores


def test_without_objective_and_per_prompt_everything_kept_is_chosen(
    config_of: Any, scored: Any
) -> None:
    config = config_of({"test_marks": {"min_marks": 2}})
    decided = decide_table(scored(config, [{MARKS: n} for n in (1, 2, 3)]), config)
    assert ids_chosen(decided) == ["c000001", "c000002"]


@pytest.mark.parametrize(
    ("objective", "best"),
    [
        (f"maximize:{MARKS}", "c000002"),
        (f"minimize:{MARKS}", "c000000"),
        ({MARKS: 1.0, SHARE: -10.0}, "c000001"),
    ],
)
def test_the_best_by_the_objective_is_chosen(
    config_of: Any, scored: Any, objective: Any, best: str
) -> None:
    config = config_of(objective=objective, per_prompt=1)
    rows = [{MARKS: 1, SHARE: 0.5}, {MARKS: 2, SHARE: 0.1}, {MARKS: 3, SHARE: 0.9}]
    table = scored(config, rows)
    decided = decide_table(table, config, Moments.of(table, weighted_measures(config)))
    assert ids_chosen(decided) == [best]


def test_a_rejected_candidate_is_not_chosen_however_good(config_of: Any, scored: Any) -> None:
    filters = {"test_marks": {"max_marks": 5}}
    config = config_of(filters, objective=f"maximize:{MARKS}", per_prompt=1)
    decided = decide_table(scored(config, [{MARKS: 4}, {MARKS: 6}, {}]), config)
    assert ids_chosen(decided) == ["c000000"]
    assert decided.column("kept").to_pylist() == [True, False, True]


def test_the_unmeasured_rank_last_and_fill_up_only_what_is_missing(
    config_of: Any, scored: Any
) -> None:
    rows = [{}, {MARKS: -9}, {}]
    two = config_of(objective=f"maximize:{MARKS}", per_prompt=2)
    assert ids_chosen(decide_table(scored(two, rows), two)) == ["c000000", "c000001"]


def test_ties_go_by_candidate_id_whatever_the_row_order(config_of: Any, scored: Any) -> None:
    config = config_of(objective=f"maximize:{MARKS}", per_prompt=1)
    names = [("b1", "b"), ("a9", "a"), ("a0", "b")]
    for order in itertools.permutations(names):
        rows = [{"candidate_id": name, "teacher": teacher, MARKS: 1} for name, teacher in order]
        assert ids_chosen(decide_table(scored(config, rows), config)) == ["a0"]


def test_more_asked_than_there_are_chooses_all_kept(config_of: Any, scored: Any) -> None:
    config = config_of(objective=f"maximize:{MARKS}", per_prompt=9)
    rows = [{MARKS: 1}, {"prompt_id": "q", MARKS: 2}, {"text": None, "error": "generate.x"}]
    assert decide_table(scored(config, rows), config).column("chosen").to_pylist() == [
        True,
        True,
        False,
    ]


def test_one_prompt_with_one_candidate_and_none_at_all(config_of: Any, scored: Any) -> None:
    config = config_of(objective=f"minimize:{MARKS}", per_prompt=1)
    assert ids_chosen(decide_table(scored(config, [{}]), config)) == ["c000000"]
    empty = decide_table(scored(config, []), config)
    assert empty.num_rows == 0
    assert graveyard_rows(empty).schema.equals(schema.GRAVEYARD)


@given(rows_of_scores, st.integers(1, 4), st.sampled_from(["keep", "reject"]))
def test_each_prompt_gets_its_best_and_nothing_failed_or_rejected(
    config_of: Any, scored: Any, rows: list[dict[str, Any]], count: int, policy: str
) -> None:
    rows = [{**row, "text": None} if row["error"] else row for row in rows]
    filters = {"test_marks": {"min_marks": 0, "on_abstain": policy}}
    config = config_of(filters, objective=f"maximize:{SHARE}", per_prompt=count)
    decided = decide_table(scored(config, rows), config)
    assert decided.schema.equals(schema.candidates_schema(score_columns(config)))
    found = decided.to_pylist()
    for prompt in "pqrs":
        kept = [row for row in found if row["prompt_id"] == prompt and row["kept"]]
        kept.sort(key=lambda r: (r[SHARE] is None, -(r[SHARE] or 0), r["candidate_id"]))
        assert {r["candidate_id"] for r in kept[:count]} == {
            r["candidate_id"] for r in found if r["prompt_id"] == prompt and r["chosen"]
        }
    failed = [row for row in found if row["error"]]
    assert not any(row["kept"] or row["chosen"] for row in failed)


@given(rows_of_scores)
def test_the_graveyard_holds_each_rejected_and_failed_candidate_once(
    config_of: Any, scored: Any, rows: list[dict[str, Any]]
) -> None:
    config = config_of({"test_marks": {"min_marks": 1, "on_abstain": "reject"}})
    decided = decide_table(scored(config, rows), config)
    dead = graveyard_rows(decided)
    assert dead.schema.equals(schema.GRAVEYARD)
    kept = {row["candidate_id"] for row in decided.to_pylist() if row["kept"]}
    buried = [row["candidate_id"] for row in dead.to_pylist()]
    assert sorted([*kept, *buried]) == decided.column("candidate_id").to_pylist()
    failed = {row["candidate_id"] for row in decided.to_pylist() if row["error"]}
    for row in dead.to_pylist():
        assert row["kind"] == "candidate"
        assert row["stage"] == ("generate" if row["candidate_id"] in failed else "decide")
        assert row["reasons"]


@given(rows_of_scores, numbers, numbers)
def test_weighted_z_scores_equal_the_plain_computation(
    config_of: Any, scored: Any, rows: list[dict[str, Any]], one: float, two: float
) -> None:
    weights = {MARKS: one, SHARE: two}
    config = config_of(objective=weights)
    table = scored(config, rows)
    values = objective_values(table, weights, Moments.of(table, weighted_measures(config)))
    float32 = table.to_pylist()
    scores = {MARKS: plain_z(float32, MARKS), SHARE: plain_z(float32, SHARE)}
    expected = []
    for place, row in enumerate(float32):
        own = [r for r in float32 if r["language"] == row["language"]]
        terms = [m for m in weights if any(r[m] is not None for r in own)]
        parts = [weights[m] * scores[m][place] for m in terms]
        expected.append(sum(parts) if parts else math.nan)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-4)


def test_a_measure_that_a_language_never_has_is_left_out_of_its_sums(
    config_of: Any, scored: Any
) -> None:
    """A word list for one language must not make the choice in another one a lottery."""
    rows = [
        {"language": tag, MARKS: mark, SHARE: mark / 10 if tag == "tr" else None}
        for tag in ("tr", "vi")
        for mark in (1, 3)
    ]
    table = scored(config_of(), rows)
    values = objective_values(table, {MARKS: 2.0, SHARE: 1.0}, Moments.of(table, [MARKS, SHARE]))
    np.testing.assert_allclose(values, [-3.0, 3.0, -2.0, 2.0], rtol=1e-6)


@given(rows_of_scores, st.integers(0, 40), st.integers(0, 40))
def test_moments_merge_in_any_grouping_to_those_of_one_pass(
    config_of: Any, scored: Any, rows: list[dict[str, Any]], one: int, two: int
) -> None:
    cut, end = sorted([one, two])
    table = scored(config_of(), rows)
    a, b, c = (
        Moments.of(part, [MARKS, SHARE])
        for part in (table[:cut], table.slice(cut, end - cut), table.slice(end))
    )
    whole = Moments.of(table, [MARKS, SHARE])
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert merged.table.keys() == whole.table.keys()
        for key, moment in merged.table.items():
            other = whole.table[key]
            assert moment.count == other.count
            assert moment.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9)
            assert moment.deviation == pytest.approx(other.deviation, rel=1e-6, abs=1e-6)


@given(rows_of_scores)
def test_moments_come_back_from_json_unchanged(
    config_of: Any, scored: Any, rows: list[dict[str, Any]]
) -> None:
    moments = Moments.of(scored(config_of(), rows), [MARKS, SHARE])
    assert Moments.from_json(json.loads(json.dumps(moments.to_json()))) == moments


def test_a_constant_measure_says_nothing_not_even_rounding_noise(
    config_of: Any, scored: Any
) -> None:
    rows = [{"language": "ko", MARKS: 0.1}] * 7 + [{"language": "ko"}]
    table = scored(config_of(), rows)
    moments = Moments.of(table[:3], [MARKS]).merge(Moments.of(table[3:], [MARKS]))
    values = objective_values(table, {MARKS: 1.0}, moments)
    assert values[:7].tolist() == [0.0] * 7
    assert math.isnan(values[7])


def test_z_scores_are_within_a_language(config_of: Any, scored: Any) -> None:
    rows = [
        {"language": tag, MARKS: base + step}
        for base, tag in enumerate(LANGUAGES)
        for step in (0, 1000)
    ]
    table = scored(config_of(), rows)
    values = objective_values(table, {MARKS: 2.0}, Moments.of(table, [MARKS]))
    np.testing.assert_allclose(values, [-2.0, 2.0] * len(LANGUAGES))


@pytest.mark.parametrize("moments", [None, Moments()])
def test_a_weighted_objective_without_its_moments_is_an_error(
    config_of: Any, scored: Any, moments: Moments | None
) -> None:
    table = scored(config_of(), [{"language": "th"}, {"language": "th", MARKS: 1}])
    with pytest.raises(FilterError, match=r'no mean of "test_marks.marks" in "th"'):
        objective_values(table, {MARKS: 1.0}, moments)
    nothing = objective_values(table[:1], {MARKS: 1.0}, moments)
    assert math.isnan(nothing[0])


def test_deciding_a_decided_table_again_gives_the_new_decision(config_of: Any, scored: Any) -> None:
    loose, strict = config_of(), config_of({"test_marks": {"min_marks": 2}})
    table = scored(loose, [{MARKS: n} for n in (1, 2, 3)])
    once = decide_table(decide_table(table, loose), strict)
    assert once.equals(decide_table(table, strict))


def test_choosing_needs_no_scores(config_of: Any, scored: Any) -> None:
    table = scored(config_of(), [{}, {}]).append_column("kept", pa.array([True, True]))
    assert choose(table, np.array([np.nan, np.nan]), 1).tolist() == [True, False]

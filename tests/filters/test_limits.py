"""Limits by language: never exceeded, the best first, whatever the shards' order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import ConfigError
from arbitrage.filters import limits as limits_module
from arbitrage.filters.limits import BestSoFar, Limits
from arbitrage.filters.selection import decide_table, selection_values

pytestmark = pytest.mark.usefixtures("marks_registered")

MARKS = "test_marks.marks"
LANGUAGES = ["ar", "hi", "ja", "th", "tr", "zh", "zh-Hant"]
candidates = st.lists(
    st.fixed_dictionaries(
        {
            "prompt_id": st.sampled_from("pqrstu"),
            "language": st.sampled_from(LANGUAGES),
            "teacher": st.sampled_from(["a", "b"]),
            MARKS: st.none() | st.sampled_from([1.0, 2.0]) | st.floats(-9, 9, width=32),
            "error": st.none() | st.none() | st.just("generate.timeout"),
        }
    ),
    max_size=40,
)
by_language = st.integers(1, 9) | st.dictionaries(
    st.sampled_from([*LANGUAGES, "default"]), st.integers(1, 9), min_size=1
)

selections = st.fixed_dictionaries(
    {
        "limit": st.tuples(st.sampled_from(["per_language", "exact"]), by_language),
        "objective": st.none() | st.sampled_from([f"maximize:{MARKS}", f"minimize:{MARKS}"]),
        "per_prompt": st.none() | st.integers(1, 2),
        "best_of": st.sampled_from(["prompt", "teacher"]),
    }
)


def found_over(config: Any, shards: list[pa.Table]) -> Limits:
    best = BestSoFar(config)
    for shard in shards:
        decided = decide_table(shard, config)
        best.add(decided, selection_values(decided, config), decided["chosen"].to_numpy())
    return Limits.from_json(json.loads(json.dumps(best.limits().to_json())))


def chosen_ids(config: Any, shards: list[pa.Table]) -> set[str]:
    limits = found_over(config, shards)
    return {
        row["candidate_id"]
        for shard in shards
        for row in decide_table(shard, config, None, limits).to_pylist()
        if row["chosen"]
    }


def cut(table: pa.Table, rows: list[dict[str, Any]], parts: int) -> list[pa.Table]:
    """The table in shards, all rows of a prompt in one."""
    homes = np.array(["pqrstu".index(row["prompt_id"]) % parts for row in rows], dtype=int)
    return [table.filter(pa.array(homes == part)) for part in range(parts)]


@given(rows=candidates, select=selections, parts=st.integers(1, 5), order=st.randoms())
def test_the_best_of_each_language_in_any_order_and_cut_of_the_shards(
    config_of: Any, scored: Any, *, rows: Any, select: Any, parts: int, order: Any
) -> None:
    ids = [f"c{number:03}" for number in range(len(rows))]
    order.shuffle(ids)
    rows = [
        {**row, "candidate_id": name, "text": None if row["error"] else "x"}
        for row, name in zip(rows, ids, strict=True)
    ]
    key, limits = select.pop("limit")
    free, config = config_of(**select), config_of(**select, **{key: limits})
    objective = select["objective"]
    table = scored(config, rows)
    shards = cut(table, rows, parts)
    order.shuffle(shards)
    chosen = chosen_ids(config, shards)
    assert chosen == chosen_ids(config, [table])

    sign = -1 if objective and objective.startswith("maximize") else 1
    allowed = [row for row in decide_table(table, free).to_pylist() if row["chosen"]]
    for language in LANGUAGES:
        mine = [row for row in allowed if row["language"] == language]
        others = 0 if key == "exact" else None
        table_of = limits if isinstance(limits, dict) else {"default": limits}
        limit = table_of.get(language, table_of.get("default", others))
        if objective is None:
            mine.sort(key=lambda row: row["candidate_id"])
        else:
            mine.sort(key=lambda r: (r[MARKS] is None, sign * (r[MARKS] or 0), r["candidate_id"]))
        best = {row["candidate_id"] for row in mine[:limit]}
        assert {row["candidate_id"] for row in mine} & chosen == best


@given(candidates, st.integers(1, 3))
def test_taking_the_best_in_between_changes_nothing(
    config_of: Any, scored: Any, rows: list[dict[str, Any]], parts: int
) -> None:
    config = config_of(objective=f"maximize:{MARKS}", per_language=2)
    table = scored(config, rows)
    shards = cut(table, rows, parts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits_module, "_SLACK", 0)
        often = found_over(config, shards)
    assert often == found_over(config, shards)
    counted = Counter(
        row["language"]
        for row in decide_table(table, config, None, often).to_pylist()
        if row["chosen"]
    )
    assert all(count <= 2 for count in counted.values())


@given(candidates, st.integers(1, 2))
def test_the_best_of_each_teacher_are_those_of_its_answers_alone(
    config_of: Any, scored: Any, rows: list[dict[str, Any]], count: int
) -> None:
    rows = [{**row, "text": None} if row["error"] else row for row in rows]
    config = config_of(objective=f"maximize:{MARKS}", per_prompt=count, best_of="teacher")
    found = decide_table(scored(config, rows), config).to_pylist()
    for prompt in "pqrstu":
        for teacher in "ab":
            mine = [r for r in found if (r["prompt_id"], r["teacher"]) == (prompt, teacher)]
            kept = [row for row in mine if row["kept"]]
            kept.sort(key=lambda r: (r[MARKS] is None, -(r[MARKS] or 0), r["candidate_id"]))
            best = {row["candidate_id"] for row in kept[:count]}
            assert best == {row["candidate_id"] for row in mine if row["chosen"]}


def test_infinite_scores_are_measured_scores(config_of: Any, scored: Any) -> None:
    config = config_of(objective=f"maximize:{MARKS}", per_language=2)
    rows = [{MARKS: score} for score in (None, float("-inf"), float("inf"), 0.0)]
    assert chosen_ids(config, [scored(config, rows)]) == {"c000002", "c000003"}
    fewer = config_of(objective=f"maximize:{MARKS}", per_language=3)
    assert chosen_ids(fewer, [scored(fewer, rows)]) == {"c000001", "c000002", "c000003"}


def test_the_two_zeros_are_one_value(config_of: Any, scored: Any) -> None:
    config = config_of(objective=f"maximize:{MARKS}", per_language=2)
    rows = [{MARKS: score} for score in (-0.0, 0.0, -0.0, 0.0)]
    assert chosen_ids(config, [scored(config, rows)]) == {"c000000", "c000001"}


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ({"exact": 5, "per_language": 5}, "give exact or per_language, not both"),
        ({"exact": 0}, "greater than or equal to 1"),
        ({"per_language": {}}, "name a language or default"),
        ({"per_language": {"tr": 1, "TR": 2}}, "names a language twice"),
        ({"per_language": {"Turkish!": 1}}, "Turkish!"),
        ({"best_of": "pool"}, "'prompt' or 'teacher'"),
    ],
)
def test_what_cannot_be_meant_is_refused(config_of: Any, select: Any, said: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + said):
        config_of(**select)

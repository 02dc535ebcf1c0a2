from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage import registry, schema
from arbitrage.errors import FilterError
from arbitrage.filters import scoring
from arbitrage.filters.base import Batch, Filter, Scores

pytestmark = pytest.mark.usefixtures("marks_registered")


def test_the_columns_are_known_before_any_data_and_carry_who_measured_them(config_of: Any) -> None:
    fields = scoring.score_columns(config_of({"test_marks": {"min_marks": 2}}))
    assert [f.name for f in fields] == ["test_marks.marks", "test_marks.share", "test_marks.first"]
    assert [f.type for f in fields] == [pa.float32(), pa.float32(), pa.string()]
    assert {f.metadata[b"filter"] for f in fields} == {b"test_marks@3"}
    assert len({f.metadata[b"params"] for f in fields}) == 1


def test_every_language_is_measured_in_its_own_row(
    config_of: Any, generated: Any, texts: dict[str, str]
) -> None:
    table = generated([{"language": tag, "text": text} for tag, text in texts.items()])
    done = scoring.score_table(table, {}, config_of())
    assert done.column("test_marks.marks").to_pylist() == [len(t) for t in texts.values()]
    assert done.column("test_marks.first").to_pylist() == [t[0] for t in texts.values()]
    assert done.schema.equals(
        schema.scored_schema(scoring.score_columns(config_of())), check_metadata=True
    )
    assert done.select(schema.GENERATED.names).equals(table)


def test_failed_rows_are_not_shown_to_filters_and_abstentions_are_null(
    config_of: Any, generated: Any, marks: Any
) -> None:
    marks.batches.clear()
    rows = [{"text": None, "error": "generate.timeout"}, {"text": ""}, {"text": "สวัสดี"}]
    done = scoring.score_table(generated(rows), {}, config_of())
    assert marks.batches == [2]
    assert done.column("test_marks.marks").to_pylist() == [None, None, 6.0]
    assert done.column("test_marks.share").null_count == 2
    assert done.column("test_marks.first").to_pylist() == [None, None, "ส"]


@pytest.mark.parametrize("rows", [[], [{"text": None, "error": "generate.x"}] * 3])
def test_a_table_with_nothing_to_measure_still_has_its_typed_columns(
    config_of: Any, generated: Any, rows: list[dict[str, Any]]
) -> None:
    done = scoring.score_table(generated(rows), {}, config_of())
    assert done.num_rows == len(rows)
    assert done.schema.field("test_marks.marks").type == pa.float32()
    assert done.column("test_marks.marks").null_count == len(rows)


def test_batches_are_bounded_by_rows_and_by_bytes_and_cover_every_row(
    config_of: Any, generated: Any, marks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_BATCH_ROWS", 4)
    monkeypatch.setattr(scoring, "MAX_BATCH_BYTES", 100)
    marks.batches.clear()
    sizes = [1] * 6 + [60, 60, 500, 1, None, 99]
    rows = [
        {"prompt_id": f"p{at}", "text": None if n is None else "x" * n}
        for at, n in enumerate(sizes)
    ]
    done = scoring.score_table(generated(rows), {}, config_of())
    assert marks.batches == [4, 3, 1, 1, 2]
    assert done.column("test_marks.marks").to_pylist() == sizes


def test_a_batch_holds_all_candidates_of_a_prompt_or_none_and_a_teachers_samples_together(
    config_of: Any, generated: Any, marks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MAX_BATCH_ROWS", 4)
    seen: list[Batch] = []
    monkeypatch.setattr(
        marks,
        "score",
        lambda self, batch, score=marks.score: seen.append(batch) or score(self, batch),
    )
    names = [("p", "a"), ("q", "a"), ("p", "b"), ("p", "a"), ("r", "a"), *[("s", "a")] * 6]
    rows = [
        {"prompt_id": prompt, "teacher": teacher, "text": f"{at} {prompt} {teacher}"}
        for at, (prompt, teacher) in enumerate(names)
    ]
    rows[4] |= {"finish_reason": "length"}
    done = scoring.score_table(generated(rows), {}, config_of())
    assert [len(batch) for batch in seen] == [4, 1, 6]
    groups = [[text.split(" ", 1)[1] for text in batch.texts] for batch in seen]
    assert groups == [["p a", "p a", "p b", "q a"], ["r a"], ["s a"] * 6]
    assert [len(set(batch.groups or ())) for batch in seen] == [3, 1, 1]
    assert [len(set(batch.same_prompt or ())) for batch in seen] == [2, 1, 1]
    assert seen[1].finish_reasons == ["length"]
    assert done.column("test_marks.marks").to_pylist() == [len(row["text"]) for row in rows]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 70)), max_size=30),
    most=st.integers(1, 8),
)
def test_batches_cover_every_text_once_and_are_bounded_but_for_a_single_group(
    generated: Any, rows: list[tuple[int, int | None]], most: int
) -> None:
    table = generated(
        [
            {"prompt_id": f"p{group}", "text": None if size is None else "x" * size}
            for group, size in rows
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "MAX_BATCH_ROWS", most)
        patch.setattr(scoring, "MAX_BATCH_BYTES", 100)
        found = [(where.tolist(), batch) for where, batch in scoring._batches(table, {})]
    covered = [at for where, _ in found for at in where]
    assert sorted(covered) == [at for at, (_, size) in enumerate(rows) if size is not None]
    seen: set[int] = set()
    for where, batch in found:
        groups = {rows[at][0] for at in where}
        assert not groups & seen
        seen |= groups
        assert [len(text) for text in batch.texts] == [rows[at][1] for at in where]
        assert len(groups) == 1 or (len(where) <= most and sum(map(len, batch.texts)) <= 100)


def test_only_what_measures_anew_is_missing(config_of: Any, generated: Any) -> None:
    first = config_of({"test_marks": {"scale": 2.0}})
    done = scoring.score_table(generated([{}]), {}, first)
    stricter = config_of({"test_marks": {"scale": 2.0, "min_marks": 7, "on_abstain": "reject"}})
    other = config_of({"test_marks": {"scale": 3.0}})
    assert scoring.missing_scores(schema.GENERATED, first) == ["test_marks"]
    assert scoring.missing_scores(done.schema, stricter) == []
    assert scoring.missing_scores(done.schema, other) == ["test_marks"]
    bare = done.schema.remove(done.schema.get_field_index("test_marks.first"))
    assert scoring.missing_scores(bare, first) == ["test_marks"]


def test_who_measured_a_column_survives_a_file(
    config_of: Any, generated: Any, tmp_path: Path
) -> None:
    config = config_of()
    done = scoring.score_table(generated([{}]), {}, config)
    with pa.ipc.new_file(tmp_path / "part.arrow", done.schema) as writer:
        writer.write_table(done)
    with pa.memory_map(str(tmp_path / "part.arrow")) as file:
        stored = pa.ipc.open_file(file).read_all()
        assert scoring.missing_scores(stored.schema, config) == []


def test_a_score_of_another_version_is_measured_again(
    config_of: Any, generated: Any, marks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of()
    done = scoring.score_table(generated([{}]), {}, config)
    newer = registry.Entry("test_marks", 4, marks, marks.Params)
    monkeypatch.setitem(registry.filters._entries, "test_marks", newer)
    assert scoring.missing_scores(done.schema, config) == ["test_marks"]


def test_scores_that_are_there_are_kept_and_the_others_replaced(
    config_of: Any, generated: Any, marks: Any
) -> None:
    done = scoring.score_table(generated([{"text": "abc"}]), {}, config_of())
    marks.batches.clear()
    again = scoring.score_table(done, {}, config_of({"test_marks": {"max_marks": 1}}))
    assert marks.batches == []
    assert again.equals(done)
    doubled = scoring.score_table(done, {}, config_of({"test_marks": {"scale": 2}}))
    assert doubled.column("test_marks.marks").to_pylist() == [6.0]


def test_a_filter_sees_the_last_user_turn_of_its_prompt(config_of: Any) -> None:
    talk = [("system", "s"), ("user", "eski"), ("assistant", "a"), ("user", "yeni soru")]
    rows = [
        {"prompt_id": "p", "messages": [{"role": r, "content": c} for r, c in talk]},
        {"prompt_id": "q", "messages": []},
        {"prompt_id": "r", "messages": [{"role": "user", "content": "سؤال"}]},
    ]
    prompts = schema.table_of(
        [{**r, "language": "tr", "source": "s"} for r in rows], schema.PROMPTS
    )
    assert scoring.prompt_texts(prompts) == {"p": "yeni soru", "q": "", "r": "سؤال"}
    assert scoring.prompt_texts(prompts.slice(1)) == {"q": "", "r": "سؤال"}
    assert scoring.prompt_texts(prompts.slice(0, 0)) == {}


def test_one_instance_is_built_and_shared_by_all_threads(
    config_of: Any, generated: Any, marks: Any
) -> None:
    scoring.close_filters()
    marks.built = 0
    tables: list[pa.Table] = []
    table = generated([{"text": "ab"}] * 50)

    def work(threshold: int) -> None:
        config = config_of({"test_marks": {"min_marks": threshold}})
        tables.append(scoring.score_table(table, {}, config))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.built == 1
    assert len(tables) == 8
    assert all(t.equals(tables[0]) for t in tables)


BROKEN = {
    "inf": (Scores({"marks": np.array([1, np.inf])}), "marks.*inf.*text 1"),
    "float64 too large": (Scores({"marks": np.array([1e300, 0])}), "1e\\+300"),
    "short": (Scores({"marks": np.zeros(1, np.float32)}), r"shape \(1,\) for 2 texts"),
    "objects": (Scores({"marks": np.array([None, 1.0])}), "object"),
    "absent": (Scores({}), "declares the measures"),
    "extra": (Scores({"marks": np.zeros(2), "more": np.zeros(2)}), "more"),
    "long labels": (Scores({"marks": np.zeros(2)}, {"tag": ["a"] * 3}), "3 labels for 2 texts"),
    "odd labels": (Scores({"marks": np.zeros(2)}, {"tag": ["a", 7]}), "one of them 7"),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_filter_that_breaks_its_contract_is_named(
    config_of: Any, marks: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scores, message = BROKEN[name]

    class Broken(Filter):
        """Breaks the contract."""

        Params = marks.Params
        measures = ("marks",)
        labels = tuple(scores.labels)

        def score(self, batch: Batch) -> Scores:
            return scores

    entry = registry.Entry("test_marks", 1, Broken, marks.Params)
    monkeypatch.setitem(registry.filters._entries, "test_marks", entry)
    batch = Batch(["a", "b"], ["en", "en"], [None, None])
    with pytest.raises(FilterError, match=f"(?s)test_marks.*{message}"):
        scoring.measure("test_marks", marks.Params(), batch)


def test_an_absent_score_column_says_what_is_there(config_of: Any, scored: Any) -> None:
    table = scored(config_of(), [{}])
    with pytest.raises(FilterError, match=r"no column \"x.y\".*test_marks.marks.*Score them first"):
        scoring.score_array(table, "x.y")

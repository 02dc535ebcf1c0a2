from __future__ import annotations

import pytest

from arbitrage.errors import DamagedRunError
from arbitrage.infra.views import sft as module


def test_each_chosen_candidate_becomes_the_prompt_and_its_answer(ten_languages, make_view, build):
    prompts, candidates, _ = ten_languages
    rows = make_view("sft").rows(prompts, candidates, None).to_pylist()
    assert [row["language"] for row in rows] == list(build.texts)
    for row in rows:
        text = build.texts[row["language"]]
        assert row["messages"] == [
            {"role": "user", "content": text},
            {"role": "assistant", "content": f"{text} good"},
        ]
        assert row["candidate_id"] == f"{row['prompt_id']}.good"
        assert (row["teacher"], row["source"], row["task"]) == ("a", "s", None)


def test_system_and_earlier_turns_stay_before_the_answer(build, make_view):
    turns = [
        {"role": "system", "content": "अनुवाद"},
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"},
    ]
    prompts = build.prompts([build.prompt("x", messages=turns), build.prompt("y")])
    candidates = build.candidates(
        [build.candidate("c1", "y"), build.candidate("c2", "x"), build.candidate("c3", "x")]
    )
    rows = make_view("sft").rows(prompts, candidates, None).to_pylist()
    assert [len(row["messages"]) for row in rows] == [2, 5, 5]
    assert rows[1]["messages"] == [*turns, {"role": "assistant", "content": "answer c2"}]


def test_only_chosen_candidates_with_a_text_make_rows(build, make_view):
    prompts = build.prompts([build.prompt("x")])
    candidates = build.candidates(
        [
            build.candidate("kept", "x", chosen=False),
            build.candidate("silent", "x", text=None),
            build.candidate("empty", "x", text=""),
        ]
    )
    rows = make_view("sft").rows(prompts, candidates, None).to_pylist()
    assert [row["candidate_id"] for row in rows] == ["empty"]


@pytest.mark.parametrize("rows", [0, 1])
def test_a_shard_without_chosen_candidates_gives_the_schema(build, make_view, rows):
    view = make_view("sft")
    candidates = [build.candidate("c", "x", chosen=False)] * rows
    table = view.rows(build.prompts([build.prompt("x")] * rows), build.candidates(candidates), None)
    assert table.num_rows == 0
    assert table.schema == view.schema


def test_a_shard_larger_than_one_step_keeps_its_order(build, make_view, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    prompts = build.prompts([build.prompt(f"p{i}") for i in range(4)])
    candidates = build.candidates([build.candidate(f"c{i}", f"p{i % 4}") for i in range(10)])
    table = make_view("sft").rows(prompts, candidates.slice(1), None)
    table.validate(full=True)
    assert table["candidate_id"].to_pylist() == [f"c{i}" for i in range(1, 10)]
    assert table["messages"].to_pylist()[-1][-1]["content"] == "answer c9"


def test_a_candidate_without_its_prompt_is_damage(build, make_view):
    with pytest.raises(DamagedRunError, match='the first "gone"'):
        make_view("sft").rows(
            build.prompts([build.prompt("x")]),
            build.candidates([build.candidate("c", "gone")]),
            None,
        )


def test_reasoning_is_dropped_kept_before_the_answer_or_a_column(build, make_view):
    prompts = build.prompts([build.prompt("x")])
    candidates = build.candidates(
        [build.candidate("c1", "x", reasoning="hmm"), build.candidate("c2", "x")]
    )

    def contents(**params):
        rows = make_view("sft", **params).rows(prompts, candidates, None).to_pylist()
        return [row["messages"][-1]["content"] for row in rows], rows

    assert contents()[0] == ["answer c1", "answer c2"]
    assert "reasoning" not in contents()[1][0]
    kept, _ = contents(reasoning="keep")
    assert kept == ["<think>\nhmm\n</think>\n\nanswer c1", "answer c2"]
    texts, rows = contents(reasoning="field")
    assert texts == ["answer c1", "answer c2"]
    assert [row["reasoning"] for row in rows] == ["hmm", None]


def test_a_prompt_of_several_turns_and_its_completion_can_be_two_columns(build, make_view):
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    prompts = build.prompts([build.prompt("x", messages=turns)])
    view = make_view("sft", form="prompt_completion")
    row = view.rows(prompts, build.candidates([build.candidate("c", "x")]), None).to_pylist()[0]
    assert row["prompt"] == turns
    assert row["completion"] == [{"role": "assistant", "content": "answer c"}]
    assert "messages" not in row

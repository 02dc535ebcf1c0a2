from __future__ import annotations

import asyncio

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.base import Request, Sample
from arbitrage.infra.teachers.recordings import Recordings, load_recordings
from arbitrage.infra.teachers.replay import Replay

ROWS = {
    "prompt_id": ["a", "a", "b", "c", "a"],
    "teacher": ["t", "t", "t", "t", "other"],
    "completion": ["ilk", "ikinci", None, "", "başka"],
    "completion_tokens": pa.array([3, None, 1, 0, 2], pa.int64()),
}


def _ask(teacher: Replay, prompt: str, *indices: int):
    samples = tuple(Sample(index, f"{prompt}{index}", 0) for index in indices)
    request = Request(prompt, "tr", "t", (("user", "?"),), samples)
    return asyncio.run(teacher.generate(request))


@pytest.fixture
def path(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "r.parquet")
    return str(tmp_path / "r.parquet")


def _replay(path, **more) -> Replay:
    given = {"name": "t", "backend": "replay", "recordings": path}
    return Replay(TeacherConfig.model_validate(given | more))


def test_samples_are_the_rows_of_a_prompt_in_order(path):
    teacher = _replay(path, cost_per_million_tokens=1.0)
    first, second, beyond = _ask(teacher, "a", 0, 1, 2)
    assert (first.text, first.finish_reason, first.completion_tokens) == ("ilk", None, 3)
    assert first.cost_usd == pytest.approx(3e-6)
    assert (second.text, second.completion_tokens, second.cost_usd) == ("ikinci", None, None)
    assert (beyond.text, beyond.error) == (None, "generate.missing_recording")
    assert not beyond.retryable


def test_null_is_empty_and_an_empty_text_is_a_text(path):
    (null,) = _ask(_replay(path), "b", 0)
    assert (null.text, null.error, null.retryable) == (None, "generate.empty_recording", False)
    (empty,) = _ask(_replay(path), "c", 0)
    assert (empty.text, empty.error) == ("", None)


def test_recorded_as_names_another_teacher(path):
    assert _ask(_replay(path, recorded_as="other"), "a", 0)[0].text == "başka"
    assert asyncio.run(_replay(path).check()) == '4 recordings of "t"'


def test_given_sample_indices_are_used(tmp_path):
    columns = {"prompt_id": ["a", "a"], "teacher": ["t"] * 2, "completion": ["bir", "sıfır"]}
    pq.write_table(pa.table(columns | {"sample_index": [1, 0]}), tmp_path / "r.parquet")
    answers = _ask(_replay(str(tmp_path / "r.parquet")), "a", 0, 1)
    assert [answer.text for answer in answers] == ["sıfır", "bir"]


def test_several_files_and_globs_are_one(tmp_path, path):
    more = {"prompt_id": ["z"], "teacher": ["t"], "completion": ["son"]}
    pq.write_table(pa.table(more), tmp_path / "s.parquet")
    assert _ask(_replay(str(tmp_path / "*.parquet")), "z", 0)[0].text == "son"
    assert _ask(_replay([path, str(tmp_path / "s.parquet")]), "a", 0)[0].text == "ilk"


def test_teachers_with_the_same_rows_share_them(path):
    first = load_recordings([path], "t", teacher="x")
    assert load_recordings([path], "t", teacher="y") is first
    assert load_recordings([path], "other", teacher="y") is not first


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prompt_id": ["a"], "teacher": ["t"]}, 'no column "completion"'),
        ({"prompt_id": ["a"], "teacher": ["u"], "completion": ["x"]}, 'no rows of "t"'),
        (
            {
                "prompt_id": ["a"] * 2,
                "teacher": ["t"] * 2,
                "completion": ["x"] * 2,
                "sample_index": [0, 0],
            },
            'prompt "a" is recorded twice',
        ),
        ({"prompt_id": [[1]], "teacher": ["t"], "completion": ["x"]}, "cannot be read"),
    ],
)
def test_a_wrong_file_is_said_by_the_check(tmp_path, columns, said):
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(ConfigError, match=said):
        asyncio.run(_replay(str(tmp_path / "r.parquet")).check())


def test_a_file_that_is_not_parquet_or_not_there_is_said(tmp_path):
    (tmp_path / "r.parquet").write_text("hello")
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(_replay(str(tmp_path / "r.parquet")).check())
    with pytest.raises(ConfigError, match="do not exist"):
        asyncio.run(_replay(str(tmp_path / "none.parquet")).check())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=4), st.none() | st.text(max_size=5)), max_size=30))
def test_every_row_is_found_and_nothing_else(rows):
    rows = [(p.encode("utf-8", "replace").decode(), c) for p, c in rows]
    table = pa.table(
        {
            "prompt_id": pa.array([p for p, _ in rows], pa.large_string()),
            "completion": pa.array(
                [c and c.encode("utf-8", "replace").decode() for _, c in rows], pa.large_string()
            ),
            "sample_index": pa.nulls(len(rows), pa.int64()),
            "completion_tokens": pa.nulls(len(rows), pa.int32()),
        }
    )
    recordings = Recordings([table.slice(0, 2), table.slice(2)], "t")
    seen: dict[str, int] = {}
    for place, (prompt, _) in enumerate(rows):
        index = seen.get(prompt, 0)
        seen[prompt] = index + 1
        (found,) = recordings.look_up([(prompt, index)])
        assert found == (table.column("completion")[place].as_py(), None)
    beyond = list(seen.items())
    assert recordings.look_up(beyond) == [None] * len(beyond)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_logs import table_of

from arbitrage.errors import ConfigError
from arbitrage.routers.reward_log import RewardLog, read_reward_log, reward_log_of

ROWS: list[Any] = [
    ("p1", "tr", "merhaba", "a", 1.0),
    ("p1", "tr", "merhaba", "b", 0.0),
    ("p0", "KO", None, "b", 0.5),
]


def log_of(rows: list[Any]) -> RewardLog:
    return reward_log_of(table_of(rows), "log.parquet")


def test_a_log_is_a_matrix_in_the_order_of_ids_and_names_with_nan_where_nothing_is_known() -> None:
    log = log_of(ROWS)
    assert list(log.prompts.prompt_ids) == ["p0", "p1"]
    assert list(log.prompts.languages) == ["ko", "tr"]
    assert list(log.prompts.texts) == ["", "merhaba"]
    assert log.teachers == ("a", "b")
    np.testing.assert_array_equal(log.rewards, [[np.nan, 0.5], [1.0, 0.0]])
    assert any("no reward in ko by a" in note for note in log.notes)


@given(st.permutations([*ROWS, ("p2", "tr", "x", "a", 0.25), ("p2", "tr", "x", "b", 0.75)]))
def test_the_order_of_rows_changes_nothing(rows: list[Any]) -> None:
    wanted = log_of(sorted(rows, key=str))
    found = log_of(rows)
    assert found.digest == wanted.digest
    np.testing.assert_array_equal(found.rewards, wanted.rewards)


def test_another_reward_is_another_digest() -> None:
    assert log_of(ROWS).digest != log_of([*ROWS[:2], ("p0", "ko", None, "b", 0.6)]).digest


def test_missing_rewards_are_counted_and_said() -> None:
    log = log_of([*ROWS, ("p0", "ko", None, "a", None), ("p9", "ko", "y", "a", float("nan"))])
    assert "2 rows have no reward (null or NaN)" in log.notes
    assert "1 prompts without any reward are left out" in log.notes
    assert list(log.prompts.prompt_ids) == ["p0", "p1"]


def test_a_row_that_stands_twice_counts_once() -> None:
    log = log_of([*ROWS, ROWS[0]])
    assert log.digest == log_of(ROWS).digest
    assert any("stood twice" in note for note in log.notes)


def test_a_teacher_without_any_reward_is_no_teacher() -> None:
    log = log_of([*ROWS, ("p0", "ko", None, "c", None)])
    assert log.teachers == ("a", "b")
    assert "without any reward and left out: c" in log.notes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([("p", "tr", "x", "a", float("inf"))], r'1 infinite rewards, the first of prompt "p"'),
        ([("p", "tr", "x", "a", None)], "every reward in .* is missing"),
        ([ROWS[0], ("p1", "tr", "merhaba", "a", 0.5)], 'two rewards of prompt "p1" by "a"'),
        ([ROWS[0], ("p1", "ko", "merhaba", "b", 0.5)], 'prompt "p1" more than one language'),
        ([ROWS[0], ("p1", "tr", "selam", "b", 0.5)], 'prompt "p1" more than one prompt'),
        ([("p", "klingonese", "x", "a", 1.0)], "klingonese"),
        ([("p", None, "x", "a", 1.0)], "log.parquet"),
        ([(None, "tr", "x", "a", 1.0)], "1 rows without a prompt_id"),
        ([("p", "tr", "x", None, 1.0)], "1 rows without a teacher"),
    ],
)
def test_a_log_that_cannot_be_right_is_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        log_of(rows)


def test_what_nobody_can_learn_from_is_said_on_reading() -> None:
    notes = log_of([("p", "tr", "x", "a", 1.0), ("q", "tr", "y", "a", 1.0)]).notes
    assert "there is one teacher, a: nothing to choose" in notes
    assert "every reward is 1: nothing to learn" in notes


def test_a_file_is_read_with_its_optional_columns_and_integer_rewards(tmp_path: Path) -> None:
    table = table_of([("p", "tr", "x", "a", 1.0), ("q", "tr", "y", "a", 0.0)])
    table = table.set_column(4, "reward", pa.array([1, 0], pa.int8()))
    table = table.append_column("group", pa.array(["g", "g"]))
    table = table.append_column("task", pa.array(["sums", None], pa.string()))
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_reward_log(tmp_path / "log.parquet")
    assert list(log.groups) == ["g", "g"]
    assert list(log.prompts.tasks) == ["sums", None]
    np.testing.assert_array_equal(log.rewards, [[1.0], [0.0]])


def test_files_that_are_no_reward_log_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        read_reward_log(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("prompt_id,reward")
    with pytest.raises(ConfigError, match="cannot be read as parquet"):
        read_reward_log(tmp_path / "text.parquet")
    pq.write_table(pa.table({"prompt_id": ["p"], "reward": ["high"]}), tmp_path / "few.parquet")
    with pytest.raises(ConfigError, match="lacks the columns language, prompt, teacher"):
        read_reward_log(tmp_path / "few.parquet")
    table = table_of(ROWS).set_column(4, "reward", pa.array(["1", "2", "3"]))
    pq.write_table(table, tmp_path / "words.parquet")
    with pytest.raises(ConfigError, match=r"the column reward of .* is string"):
        read_reward_log(tmp_path / "words.parquet")

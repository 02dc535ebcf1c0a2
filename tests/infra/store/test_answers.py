from __future__ import annotations

import gc
import logging
import warnings
from pathlib import Path

import pytest

from arbitrage.errors import InterruptedRunError, OutputError
from arbitrage.infra import interrupt
from arbitrage.infra.store.answers import AnswerJournal


def test_what_is_kept_is_known_to_the_next_process_at_once(tmp_path: Path) -> None:
    one, other = AnswerJournal(tmp_path / "a"), AnswerJournal(tmp_path / "a")
    assert one.known("k") is None
    assert not (tmp_path / "a").exists()
    one.keep("k", b'{"score": 1}')
    assert one.known("k") == b'{"score": 1}'
    assert other.known("k") == b'{"score": 1}'  # nothing was closed
    other.keep("l", b"2")
    assert AnswerJournal(tmp_path / "a").known("l") == b"2"
    one.close()
    other.close()


def test_an_answer_that_comes_after_the_end_is_kept_and_leaves_no_file_open(
    tmp_path: Path,
) -> None:
    journal = AnswerJournal(tmp_path)
    journal.keep("k", b"1")
    journal.close()
    journal.keep("l", b"2")
    journal.keep("m", b"3")
    later = AnswerJournal(tmp_path)
    assert [later.known(key) for key in "klm"] == [b"1", b"2", b"3"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del journal
        gc.collect()
    assert not [each for each in said if each.category is ResourceWarning]


def test_a_segment_that_another_journal_made_in_between_is_left_to_it(tmp_path: Path) -> None:
    taken = tmp_path / "00001.lines"  # what is to come is numbered by how many there are: one
    taken.write_bytes(b"")
    journal = AnswerJournal(tmp_path)
    journal.keep("k", b"1")
    journal.close()
    assert taken.read_bytes() == b""
    assert AnswerJournal(tmp_path).known("k") == b"1"


def test_a_torn_or_damaged_line_is_said_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = AnswerJournal(tmp_path)
    for key in "abc":
        journal.keep(key, b"1.5")
    journal.close()
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    lines = data.split(b"\n")
    file.write_bytes(lines[0] + b"\n" + lines[1].replace(b"1.5", b"9.5") + b"\n" + lines[2][:-2])
    with caplog.at_level(logging.WARNING):
        again = AnswerJournal(tmp_path)
        assert [again.known(key) for key in "abc"] == [b"1.5", None, None]
    assert "2 torn or damaged lines" in caplog.text
    again.keep("b", b"1.5")
    assert AnswerJournal(tmp_path).known("b") == b"1.5"
    again.close()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        AnswerJournal(tmp_path / "file").keep("k", b"1")


def test_a_run_that_is_to_stop_knows_no_more(tmp_path: Path) -> None:
    interrupt.stop.set()
    try:
        with pytest.raises(InterruptedRunError):
            AnswerJournal(tmp_path).known("k")
    finally:
        interrupt.stop.clear()

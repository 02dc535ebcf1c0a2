"""The usage log: what was used survives the process, whatever killed it."""

from __future__ import annotations

import resource
import signal

import pytest

from arbitrage.errors import OutputError
from arbitrage.infra.generation.usage import TeacherUsage
from arbitrage.infra.store.usage import UsageLog, read_usage, spent
from arbitrage.infra.teachers.base import Completion, Request, Sample, Usage

SAMPLES = (Sample(0, "c0", 1), Sample(1, "c1", 2))


def _request(teacher="a"):
    return Request("p", "th", teacher, (("user", "สวัสดี"),), SAMPLES)


def _answer(cost=0.5):
    return [
        Completion(0, "x", latency_ms=2000.0, usage=Usage(10, 7, 4, 3, cost)),
        Completion(1, error="generate.no_text", latency_ms=2000.0),
    ]


def _record(folder, count, teacher="a"):
    log = UsageLog(folder)
    for _ in range(count):
        log.record(_request(teacher), _answer())
    log.close()


def test_usage_adds_up_over_processes_and_teachers(tmp_path):
    _record(tmp_path, 3)
    _record(tmp_path, 2)
    _record(tmp_path, 1, "b")
    usage = read_usage(tmp_path)
    a = usage["a"]
    assert (a["requests"], a["samples"], a["failed"]) == (5, 10, 5)
    assert (a["prompt_tokens"], a["completion_tokens"]) == (50, 35)
    assert (a["cached_tokens"], a["reasoning_tokens"], a["untold"]) == (20, 15, 0)
    assert a["request_s"] == pytest.approx(10.0)
    assert usage["b"]["requests"] == 1
    assert spent(usage)["usd"] == pytest.approx(3.0)


def test_pauses_between_processes_are_not_counted_as_time(tmp_path):
    _record(tmp_path, 1)
    _record(tmp_path, 1)
    assert 4.0 <= read_usage(tmp_path)["a"]["seconds"] < 5.0


def test_a_torn_last_line_is_passed_over_and_the_next_process_goes_on(tmp_path):
    _record(tmp_path, 2)
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"a":{"requests":1,')
    assert read_usage(tmp_path)["a"]["requests"] == 2
    _record(tmp_path, 1)
    assert read_usage(tmp_path)["a"]["requests"] == 3


def test_an_answer_is_on_disk_before_the_next_one_where_answers_are_slow(tmp_path):
    log = UsageLog(tmp_path)
    log.record(_request(), _answer())
    assert read_usage(tmp_path)["a"]["requests"] == 1
    log.close()


def test_what_was_never_sent_is_not_used_and_nothing_used_is_no_file(tmp_path):
    log = UsageLog(tmp_path / "usage")
    log.record(_request(), [Completion(0, error="generate.budget_spent")])
    log.close()
    assert not (tmp_path / "usage").exists()
    assert read_usage(tmp_path / "usage") == {}


def test_answers_without_counts_are_said(tmp_path):
    log = UsageLog(tmp_path)
    log.record(_request(), [Completion(0, "x", usage=Usage()), Completion(1, "y")])
    log.close()
    assert read_usage(tmp_path)["a"]["untold"] == 1


def test_two_processes_that_begin_together_write_two_segments(tmp_path, monkeypatch):
    _record(tmp_path, 1)
    # Both count the same segments, as two processes in the same moment do.
    monkeypatch.setattr(type(tmp_path), "glob", lambda path, pattern: iter(()))
    _record(tmp_path, 2)
    monkeypatch.undo()
    assert read_usage(tmp_path)["a"]["requests"] == 3


def test_what_a_full_disk_tore_is_counted_once_there_is_room_again(tmp_path):
    log = UsageLog(tmp_path)
    log.record(_request(), _answer())
    (segment,) = tmp_path.glob("*.jsonl")
    room = segment.stat().st_size + 9
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        log.add("b", TeacherUsage(requests=1))
        with pytest.raises(OutputError, match="make room"):
            log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, previous)
    log.add("c", TeacherUsage(requests=1))
    log.close()
    assert {name: used["requests"] for name, used in read_usage(tmp_path).items()} == {
        "a": 1,
        "b": 1,
        "c": 1,
    }

"""Background processes of the local stack: ended for sure, never mistaken for another one."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.deploy.local import processes, teacher

FOREVER = "import time; time.sleep(600)"


def test_a_process_and_its_child_end_and_a_second_end_says_it_was_gone(tmp_path: Path) -> None:
    started = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FOREVER!r}])"
    command = [sys.executable, "-c", started]
    process = processes.start("parent", command, tmp_path / "log", os.environ, tmp_path)
    assert process.is_alive()
    assert processes.end(process)
    assert not process.is_alive()
    assert not processes.end(process)


def test_another_process_with_the_same_id_is_left_alone() -> None:
    mine = processes.Background("me", os.getpid(), processes.start_time(os.getpid()))
    assert mine.is_alive()
    assert not processes.end(replace(mine, started="Mon Jan  1 00:00:00 2001"))


def test_a_shell_in_another_time_zone_finds_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = processes.Background("me", os.getpid(), processes.start_time(os.getpid()))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert mine.is_alive()


def test_one_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    process = processes.start("teacher", command, log, os.environ, tmp_path)
    with pytest.raises(ArbitrageError, match="no such model"):
        processes.wait_until(lambda: False, process, log, 60)
    processes.end(process)


def test_a_taken_port_is_named_with_the_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is taken.*make up PORT="):
            processes.check_port(port, "PORT")


def test_a_port_is_kept_until_somebody_else_has_it(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = processes.kept_port(file, "teacher")
    assert processes.kept_port(file, "teacher") == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        other = processes.kept_port(file, "teacher")
    assert other != first
    assert processes.kept_port(file, "teacher") == other


def test_the_stand_in_teacher_says_what_was_recorded_and_admits_what_was_not() -> None:
    root = Path(__file__).resolve().parents[3] / "examples" / "quickstart"
    tables = root / "prompts.parquet", root / "recordings.parquet"
    answers = teacher.read_answers(*tables, "llama-3-instruct")
    prompt, said = next(iter(answers.items()))
    body = teacher.answer("a", {"messages": [{"role": "user", "content": prompt}]}, answers)
    assert body["choices"][0]["message"]["content"] == said[0]
    body = teacher.answer("a", {"messages": [{"role": "user", "content": "?"}], "n": 2}, answers)
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert ["no recorded answer" in text for text in texts] == [True, True]

"""One writer a folder; a dead writer holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from arbitrage.errors import OutputError, RunConflictError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock

HOLD = """
import sys, time
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock
lock = RunLock(Folder(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_writer_is_told_who_is_the_first(tmp_path: Path) -> None:
    first, second = RunLock(Folder(tmp_path)), RunLock(Folder(tmp_path))
    first.acquire()
    with pytest.raises(RunConflictError, match=f"written by process {os.getpid()} on "):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_lock_whose_holder_cannot_be_written_down_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("the disk is full.")

    first = RunLock(Folder(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write_json", full)
        with pytest.raises(OutputError):
            first.acquire()
    second = RunLock(Folder(tmp_path))
    second.acquire()
    second.release()


def test_a_released_lock_leaves_no_file(tmp_path: Path) -> None:
    lock = RunLock(Folder(tmp_path))
    lock.acquire()
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_may_be_released_by_another_thread(tmp_path: Path) -> None:
    """A flow may end in another thread than it began in."""
    lock = RunLock(Folder(tmp_path))
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    RunLock(Folder(tmp_path)).acquire()
    assert (tmp_path / ".lock").exists()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunConflictError, match=f"process {holder.pid} "):
            RunLock(Folder(tmp_path)).acquire()
        holder.kill()
    lock = RunLock(Folder(tmp_path))
    lock.acquire()
    lock.release()


def test_a_holder_that_left_no_name_is_another_process(tmp_path: Path) -> None:
    first = RunLock(Folder(tmp_path))
    first.acquire()
    for path in tmp_path.glob("**/*.json"):
        path.write_text("{")
    with pytest.raises(RunConflictError, match="by another process"):
        RunLock(Folder(tmp_path)).acquire()
    first.release()

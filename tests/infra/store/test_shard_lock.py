"""One process a shard; whoever dies lets go, and whoever is only given up does not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbitrage.errors import InterruptedRunError
from arbitrage.infra.interrupt import stop
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.shard_lock import is_held_elsewhere, shard_held

HOLD = """
import sys, time
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.shard_lock import shard_held
with shard_held(Folder(sys.argv[1]), 3):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _not_stopping() -> Iterator[None]:
    stop.clear()
    yield
    stop.clear()


@pytest.fixture
def zombie(tmp_path: Path, run_configs) -> Iterator[subprocess.Popen[str]]:
    """A process that works on shard 3 and that nobody waits for any more."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=run_configs.environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_takes_a_shard_over_waits_until_the_first_process_is_really_dead(
    tmp_path: Path, zombie: subprocess.Popen[str]
) -> None:
    taken = threading.Event()

    def take_over() -> None:
        with shard_held(Folder(tmp_path), 3):
            taken.set()

    thread = threading.Thread(target=take_over)
    thread.start()
    assert not taken.wait(1.5)
    zombie.kill()
    assert taken.wait(60)
    thread.join()


def test_other_shards_are_free(tmp_path: Path, zombie: subprocess.Popen[str]) -> None:
    # A lock on the whole run would wait for ever: asked to stop, it raises instead.
    giving_up = threading.Timer(20, stop.set)
    giving_up.start()
    try:
        with shard_held(Folder(tmp_path), 4):
            assert zombie.poll() is None
    finally:
        giving_up.cancel()


def test_waiting_ends_when_the_run_is_asked_to_stop(
    tmp_path: Path, zombie: subprocess.Popen[str]
) -> None:
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(InterruptedRunError), shard_held(Folder(tmp_path), 3):
        raise AssertionError("the shard was another's")


def test_a_run_whose_lock_is_not_seen_as_taken_is_told_from_one_whose_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert not is_held_elsewhere(folder)  # another folder of that name, on another machine
    lock = RunLock(folder)
    lock.acquire()
    assert is_held_elsewhere(folder)
    lock.release()
    (tmp_path / ".lock").touch()  # a file system that carries files but not locks
    assert not is_held_elsewhere(folder)

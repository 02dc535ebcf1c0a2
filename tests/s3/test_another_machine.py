"""kill -9, the local folder gone, the run continued elsewhere: what is asked again is counted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import object_stores
import pytest

from arbitrage.infra.store.verify import verify_run

pytestmark = [pytest.mark.s3, pytest.mark.parametrize("store", ["swift"], indirect=True)]
PROMPTS, SHARD = 120, 30
# So slow that a look into the store, which may take seconds, does not come too late.
LATENCY_S = 1.0


@pytest.fixture
def teacher(stand_in: ModuleType) -> Iterator[Any]:
    with stand_in.StandIn(stand_in.Behaviour(latency_s=LATENCY_S)) as server:
        yield server


@pytest.fixture
def start(world: Any, teacher: Any, api_url: str) -> Callable[[str], Any]:
    """Start the run in a child process of a "machine": a folder and a cache of its own."""
    made = world.configs.served_data(world.folder, teacher.base_url, prompts=PROMPTS)
    made["run"] |= {"output": f"s3://{world.bucket}/nightly", "shard_size": SHARD}
    made["run"]["storage"] = {"upload_every_s": 0.2, "lease_s": 3.0}
    world.configs.write_toml(world.folder / "run.toml", made)

    def start(machine: str) -> Any:
        folder = world.folder / machine
        folder.mkdir()
        env = world.configs.environment(api_url, XDG_CACHE_HOME=str(folder / "cache"))
        arguments = ["run", world.folder / "run.toml", "--run-id", "r"]
        return world.configs.start(arguments, folder, env)

    return start


def answers_in(world: Any, folder: Path) -> int:
    return object_stores.answers_in(f"s3://{world.bucket}/nightly/r", folder, SHARD)


def test_only_what_was_in_flight_or_not_uploaded_yet_is_asked_again(
    world: Any, teacher: Any, start: Callable[[str], Any], tmp_path: Path
) -> None:
    first = start("first")
    seen = tmp_path / "seen"
    world.configs.wait_until(lambda: answers_in(world, seen) >= 8, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    ends = time.monotonic() + 120
    while teacher.connections:  # what was in flight is counted once the dead one's are gone
        assert time.monotonic() < ends
        time.sleep(0.01)
    teacher.behaviour.latency_s = 0.0
    asked, kept = teacher.stats.requests, answers_in(world, seen)
    assert 8 <= kept <= asked < PROMPTS
    code, out, err = world.configs.finish(start("second"), 240)
    assert code == 0, err
    assert f"continuing the unfinished run s3://{world.bucket}/nightly/r" in err
    assert out.splitlines()[-1] == f"s3://{world.bucket}/nightly/r"
    found = verify_run(out.splitlines()[-1])
    assert found.problems == []
    assert (found.total("candidates"), found.duplicates, found.missing) == (PROMPTS, 0, 0)
    assert teacher.stats.requests == PROMPTS + asked - kept
    assert world.keys("nightly/r/unfinished/") == []

"""A run over two raylets whose output is a bucket: what nodes write is what the store holds."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import object_stores
import pytest

from arbitrage.infra.store.s3.place import parse_s3
from arbitrage.infra.store.verify import verify_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
PROMPTS, SHARD = 60, 10


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    found = object_stores.python()
    if found is None:
        pytest.skip("needs Swift in an environment of its own: make s3")
    with object_stores.swift(found, tmp_path_factory.mktemp("swift") / "s") as address:
        yield address


@dataclass(frozen=True, slots=True)
class Lake:
    """An empty bucket, and a run that is to be made in it."""

    address: str
    run: str
    place: Any
    two_nodes: Any

    def start(self, machine: Path) -> Any:
        """Start or continue it, with a work folder of its own: from a cluster with other disks."""
        self.place.env.update({**object_stores.KEYS, "AWS_ENDPOINT_URL": self.address})
        output, _, name = self.run.rpartition("/")
        storage = [f'work_folder="{machine}"', "upload_every_s=0.2", "lease_s=3.0"]
        sets = [f"run.storage.{key}" for key in storage]
        return self.place.start(output, self.two_nodes.address, *sets, run_id=name)


@pytest.fixture
def lake(
    store: str,
    place: Any,
    two_nodes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Lake:
    for name, value in {**object_stores.KEYS, "AWS_ENDPOINT_URL": store}.items():
        monkeypatch.setenv(name, value)
    bucket = f"lake-{uuid.uuid4()}"
    object_stores.client(store).create_bucket(Bucket=bucket)
    return Lake(store, f"s3://{bucket}/runs/r", place, two_nodes)


def test_another_machine_asks_again_only_what_was_in_flight_or_not_uploaded(
    place: Any, two_nodes: Any, lake: Lake, undisturbed: Any, tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    first, seen = lake.start(tmp_path / "first"), tmp_path / "seen"
    place.wait_until(lambda: object_stores.answers_in(lake.run, seen, SHARD) >= 12, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    deadline = time.monotonic() + 120
    while any(node["shards"] for node in two_nodes.look()):  # Ray ends them
        assert time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(2 * place.server.behaviour.latency_s)  # what was in flight is counted
    asked = place.server.stats.requests - before
    kept = object_stores.answers_in(lake.run, seen, SHARD)
    assert 12 <= kept <= asked < PROMPTS
    place.server.behaviour.latency_s = 0.05
    code, out, err = place.finish(lake.start(tmp_path / "second"))
    assert code == 0, err
    assert f"continuing the unfinished run {lake.run}" in err
    assert out.splitlines()[-1] == lake.run
    assert verify_run(lake.run).problems == []
    assert place.configs.stable_rows(lake.run) == undisturbed
    assert place.server.stats.requests - before == PROMPTS + asked - kept
    bucket = parse_s3(lake.run).bucket
    assert object_stores.keys(lake.address, bucket, "runs/r/unfinished/") == []


def test_a_node_killed_in_mid_run_leaves_nothing_out_of_the_bucket(
    place: Any, two_nodes: Any, lake: Lake, undisturbed: Any, tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process, seen = lake.start(tmp_path / "only"), tmp_path / "seen"
    place.wait_until(lambda: object_stores.answers_in(lake.run, seen, SHARD) >= 6, process)
    assert two_nodes.kill(1)["shards"] >= 1, "the node was idle when it was killed"
    place.server.behaviour.latency_s = 0.05
    code, _, err = place.finish(process)
    assert code == 0, err
    assert verify_run(lake.run).problems == []
    assert place.configs.stable_rows(lake.run) == undisturbed
    assert place.server.stats.requests - before < PROMPTS + SHARD

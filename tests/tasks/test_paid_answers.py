"""What a server answered is paid for once: killed in mid-scoring, a run asks for the rest only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reward_server import RewardServer
from run_configs import SOURCES, parsed, replay_data, run_steps, stable_rows

from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.verify import verify_run

CONCURRENCY = 3
CHILD = (
    "import json, sys; from run_configs import parsed, run_steps;"
    "run_steps(parsed(json.load(open(sys.argv[1]))), upto='scored')"
)


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


def data_of(folder: Path, server: RewardServer, **judge: Any) -> dict[str, Any]:
    data = replay_data(folder, samples=2)
    asks = {"base_url": server.base_url, "model": "m", "concurrency": CONCURRENCY}
    return {
        **data,
        "filters": {"length": {}, "judge": {**asks, **judge}, "reward_model": asks},
        "select": {"objective": {"judge.score": 1.0, "reward_model.score": 0.5}, "per_prompt": 1},
        "views": {"sft": {}},
    }


@pytest.mark.parametrize("way", ["pointwise", "pairwise"])
def test_after_kill_9_only_what_was_in_flight_is_asked_again(
    tmp_path: Path, server: RewardServer, way: str
) -> None:
    data = data_of(tmp_path, server, way=way)
    undisturbed = stable_rows(run_steps(parsed(data, run__output=str(tmp_path / "other"))))
    sent = len(server.bodies)
    server.bodies.clear()
    server.times.clear()
    (tmp_path / "run.json").write_text(json.dumps(data))
    server.latency_s = 0.05
    tests = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SOURCES), tests))}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "run.json")], env=environment
    )
    deadline = time.monotonic() + 240
    while len(server.bodies) < 8 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the child ended before it was killed"
    time.sleep(0.3)  # what was in flight is counted
    assert 8 <= len(server.bodies) < sent
    server.latency_s = 0.0
    run = run_steps(parsed(data))
    again = [count for count in server.times.values() if count > 1]
    assert max(again, default=2) == 2
    assert len(again) <= CONCURRENCY
    assert len(server.times) == len(server.bodies) - len(again) == sent
    assert stable_rows(run) == undisturbed
    assert verify_run(run).problems == []
    assert not (run / layout.WORK).exists()


def test_a_run_shows_scores_causes_and_no_key(
    tmp_path: Path, server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sesame-planted")
    data = data_of(tmp_path, server, api_key_env="A_KEY", min_score=2.0, on_abstain="reject")
    server.says = {"海": "no idea"}
    run = run_steps(parsed(data))
    assert "Bearer sesame-planted" in server.keys
    planted = b"sesame-planted"
    assert not [file for file in run.rglob("*") if file.is_file() and planted in file.read_bytes()]
    candidates = open_run(run).candidates.collect()
    japanese = candidates.filter(pl.col("language") == "ja")
    assert set(japanese["judge.cause"]) == {"unparsed"}
    assert japanese["judge.score"].null_count() == len(japanese)
    assert {reason for reasons in japanese["reasons"] for reason in reasons} == {"judge.abstained"}
    others = candidates.filter(pl.col("judge.cause").is_null())
    assert others["judge.score"].null_count() == 0
    assert others["judge.score"].is_between(1, 10).all()


def test_another_threshold_asks_nothing_and_another_judge_asks_again(
    tmp_path: Path, server: RewardServer
) -> None:
    from arbitrage.flows.redecide import redecide

    run = run_steps(parsed(data_of(tmp_path, server)))
    sent = len(server.bodies)
    stricter = redecide(run, overrides=["filters.judge.min_score=9"], run_id="stricter")
    assert len(server.bodies) == sent
    reasons = open_run(stricter).candidates.collect()["reasons"].explode()
    assert "judge.min_score" in set(reasons)
    redecide(run, overrides=['filters.judge.model="other"'], run_id="other")
    asked = [body["model"] for _, body in server.bodies[sent:]]
    assert set(asked) == {"other"}

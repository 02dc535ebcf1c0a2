"""Nulls for want of a server's answer: asked again exactly once each, and nothing else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from reward_server import RewardServer
from run_configs import TEXTS, parsed, replay_data, run_steps, stable_rows

from arbitrage.errors import FilterError, RunConflictError
from arbitrage.flows.redecide import redecide
from arbitrage.infra.store import open_run
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.verify import verify_run


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


def data_of(folder: Path, server: RewardServer, **judge: Any) -> dict[str, Any]:
    data = replay_data(folder, samples=2, per_language=2)
    asks = {"base_url": server.base_url, "model": "m", "concurrency": 2, "retries": 0}
    return {
        **data,
        "filters": {"judge": {**asks, "patience": 500, **judge}, "reward_model": asks},
        "select": {"objective": {"judge.score": 1.0, "reward_model.score": 0.5}, "per_prompt": 1},
        "views": {"preference": {}},
    }


def broken_run(folder: Path, server: RewardServer, **judge: Any) -> Path:
    """A run whose judge was busy whenever it was asked about Japanese."""
    server.faults = {TEXTS["ja"]: "busy"}
    data = data_of(folder, server, **judge)
    data["filters"]["reward_model"]["base_url"] = server.base_url
    data["filters"]["reward_model"]["patience"] = 500
    path: Path = run_steps(parsed(data))
    server.faults = {}
    server.bodies.clear()
    server.times.clear()
    return path


def whole_run(folder: Path, server: RewardServer, **judge: Any) -> dict[str, Any]:
    data = data_of(folder, server, **judge)
    rows = stable_rows(run_steps(parsed(data, run__output=str(folder / "other"))))
    server.bodies.clear()
    server.times.clear()
    return rows


@pytest.mark.parametrize("way", ["pointwise", "pairwise", "checklist"])
@pytest.mark.parametrize("in_place", [False, True])
def test_only_what_was_left_open_is_asked_again_and_once(
    tmp_path: Path, server: RewardServer, way: str, in_place: bool
) -> None:
    undisturbed = whole_run(tmp_path, server, way=way)
    run = broken_run(tmp_path, server, way=way)
    manifest = open_run(run).manifest
    before = manifest["usage"]
    assert manifest["rewards"]["unscored"]["judge"]["unanswered"] > 0
    again = redecide(run, in_place=in_place, retry_unanswered=True)
    assert set(server.times.values()) == {1}
    assert all(TEXTS["ja"] in orjson.dumps(body).decode() for _, body in server.bodies)
    assert stable_rows(again) == undisturbed
    manifest = open_run(again).manifest
    assert manifest["rewards"]["unscored"] == {}
    used = manifest["usage"]
    asked = before["[filters.judge]"]["requests"] + before["[filters.reward_model]"]["requests"]
    assert sum(item["requests"] for item in used.values() if item["samples"] == 0) == asked + len(
        server.bodies
    )
    assert verify_run(again).ok
    server.bodies.clear()
    redecide(again, retry_unanswered=True, run_id="nothing-left")
    assert not server.bodies


def test_answered_comparisons_of_a_prompt_are_not_bought_again(
    tmp_path: Path, server: RewardServer
) -> None:
    """One of a prompt's comparisons fails: the others are recalled from what the run kept."""
    data = data_of(tmp_path, server, way="pairwise", concurrency=1)
    server.faults = {f"{TEXTS['ja']} 0": "busy"}
    server.first = 1
    run = run_steps(parsed(data))
    assert open_run(run).manifest["rewards"]["unscored"]["judge"] == {"partly_unanswered": 2}
    server.faults = {}
    asked = Counter(path for path, _ in server.bodies)
    server.bodies.clear()
    redecide(run, retry_unanswered=True, run_id="again")
    assert asked["/v1/chat/completions"] > 10
    assert [path for path, _ in server.bodies] == ["/v1/chat/completions"]


def test_a_retry_that_is_broken_off_has_kept_what_was_answered(
    tmp_path: Path, server: RewardServer
) -> None:
    run = broken_run(tmp_path, server)
    server.faults = {f"{TEXTS['ja']} 1": "busy"}
    with pytest.raises(FilterError, match="failed in a row"):
        redecide(run, overrides=["filters.judge.patience=1"], retry_unanswered=True, run_id="one")
    first = Counter(server.times)
    server.faults = {}
    redecide(run, retry_unanswered=True, run_id="two")
    failing = f"{TEXTS['ja']} 1".encode()
    answered = {body for body in first if failing not in body}
    assert answered
    assert all(server.times[body] == 1 for body in answered)
    assert open_run(run).path.with_name("two").is_dir()


def test_without_the_flag_nothing_is_asked_and_the_nulls_stay(
    tmp_path: Path, server: RewardServer
) -> None:
    run = broken_run(tmp_path, server)
    again = redecide(run, run_id="again")
    assert not server.bodies
    assert open_run(again).manifest["rewards"]["unscored"]["judge"]["unanswered"] > 0


def test_two_processes_do_not_ask_about_one_run_at_the_same_time(
    tmp_path: Path, server: RewardServer
) -> None:
    run = broken_run(tmp_path, server)
    lock = RunLock(Folder(run))
    lock.acquire()
    try:
        with pytest.raises(RunConflictError, match="being written"):
            redecide(run, retry_unanswered=True, run_id="again")
    finally:
        lock.release()
    assert not server.bodies

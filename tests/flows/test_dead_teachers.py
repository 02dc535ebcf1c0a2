"""Whole runs in which teachers die: exit code 3, a sentence, and an account that adds up."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from arbitrage.flows.cli import app
from arbitrage.infra.generation.death import AllTeachersDeadError
from arbitrage.infra.progress import board
from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.usefixtures("prefect_server")

LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en"]
PROMPTS = 120


@pytest.fixture
def servers() -> Iterator[dict[str, Any]]:
    stand_in = importlib.import_module("stand_in_server")
    running = {name: stand_in.StandIn(stand_in.Behaviour(latency_s=0.05)) for name in "abc"}
    for server in running.values():
        server.__enter__()
    yield running
    for server in running.values():
        kill(server)


def kill(server: Any) -> None:
    if server._thread.is_alive():
        server.__exit__(None, None, None)


def again(server: Any) -> Any:
    """A new server at the address of a dead one."""
    stand_in = importlib.import_module("stand_in_server")
    return stand_in.StandIn(port=server.port)


@pytest.fixture
def config(tmp_path: Path, servers: dict[str, Any]) -> Path:
    prompts = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"Soru {i} سؤال 質問 🙂", "language": LANGUAGES[i % 10]}
        for i in range(PROMPTS)
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    teachers = "".join(
        f"""
        [[teachers]]
        name = "{name}"
        backend = "openai"
        model = "stand-in"
        base_url = "{server.base_url}"
        max_concurrency = 4
        dead_after_s = 0.4
        """
        for name, server in servers.items()
    )
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        [run]
        output = "{tmp_path}/runs"
        shard_size = 60
        samples = 2
        [prompts]
        source = "{prompts}"
        {teachers}
        """,
        encoding="utf-8",
    )
    return path


def run(config: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["run", str(config), "--run-id", "r", *more])


def dying_in_mid_run(*servers: Any) -> threading.Thread:
    """Kill servers once the run has its first answers, and before it has all of theirs."""
    for server in servers:
        server.behaviour.holds_after = 8

    def wait_and_kill() -> None:
        ends = time.monotonic() + 240
        while board.read().finished == 0 and time.monotonic() < ends:
            time.sleep(0.01)
        for server in servers:
            kill(server)

    board.reset()
    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def test_a_dead_teachers_prompts_go_to_the_others_and_the_run_says_so(
    config: Path, servers: dict[str, Any]
) -> None:
    dying_in_mid_run(servers["a"])
    done = run(config)
    assert done.exit_code == 3, done.output
    finished = open_run(config.parent / "runs" / "r")
    found = verify_run(finished.path)
    assert found.problems == []
    assert found.total("requested") == found.total("kept") == PROMPTS * 2
    (death,) = finished.manifest["deaths"]
    assert (death["teacher"], death["failed"]) == ("a", 0)
    assert "generate.connection" in death["reason"]
    assert f"dead teacher: a ({death['reason']}): {death['rerouted']} of" in done.stderr
    routes = finished.routes.collect()
    moved = routes.filter(pl.col("router") == "uniform@1+rerouted")
    assert 2 * moved.height == death["rerouted"] > 0
    assert not moved["drawn"].explode().is_in(["a"]).any()
    assert moved["propensities"].explode().to_list() == pytest.approx([0.5] * moved.height)
    candidates = finished.candidates.collect()
    told = candidates.join(moved, on="prompt_id")
    assert told.height == death["rerouted"]
    assert told["router"].eq("uniform@1+rerouted").all()
    assert told["route_probability"].to_list() == pytest.approx([0.5] * told.height)
    assert "a" in candidates["teacher"].to_list()


def test_without_rerouting_they_fail_with_their_reason(
    config: Path, servers: dict[str, Any]
) -> None:
    dying_in_mid_run(servers["a"])
    done = run(config, "--set", "router.reroute=false")
    assert done.exit_code == 3, done.output
    finished = open_run(config.parent / "runs" / "r")
    assert verify_run(finished.path).problems == []
    (death,) = finished.manifest["deaths"]
    assert death["rerouted"] == 0
    assert death["failed"] > 0
    buried = finished.graveyard.collect().filter(kind="candidate")
    assert set(buried["teacher"]) == {"a"}
    assert death["failed"] == buried["reasons"].explode().eq("generate.teacher_dead").sum()


def test_all_dead_stops_with_the_command_that_goes_on(
    config: Path, servers: dict[str, Any]
) -> None:
    dying_in_mid_run(*servers.values())
    stopped = run(config)
    assert isinstance(stopped.exception, AllTeachersDeadError), stopped.output
    assert stopped.exception.exit_code == 3
    assert "all teachers are dead" in str(stopped.exception)
    assert "continue with: arbitrage " in str(stopped.exception)
    answered = sum(server.stats.requests for server in servers.values())
    new = [again(server) for server in servers.values()]
    for server in new:
        server.__enter__()
    try:
        done = run(config)
    finally:
        for server in new:
            kill(server)
    finished = open_run(config.parent / "runs" / "r")
    assert verify_run(finished.path).problems == []
    assert finished.manifest["totals"]["kept"] == PROMPTS * 2
    # One of them may have been given up a moment before the others: then its share had
    # moved already, which stays told.
    deaths = finished.manifest["deaths"]
    assert done.exit_code == (3 if deaths else 0), done.output
    assert all(death["failed"] == 0 for death in deaths)
    # What was answered before is not asked again: all but what was in flight.
    assert sum(server.stats.requests for server in new) <= PROMPTS - answered + 3 * 4


def test_of_a_teacher_that_was_never_there_nothing_fails(
    config: Path, servers: dict[str, Any]
) -> None:
    """Asked one by one and without a retry: refused connections are laid to the server."""
    kill(servers["a"])
    few = ("--set", "teachers.0.max_retries=0", "--set", "teachers.0.max_concurrency=1")
    done = run(config, *few)
    assert done.exit_code == 3, done.output
    finished = open_run(config.parent / "runs" / "r")
    assert verify_run(finished.path).problems == []
    assert finished.manifest["totals"]["kept"] == PROMPTS * 2
    (death,) = finished.manifest["deaths"]
    assert (death["teacher"], death["failed"]) == ("a", 0)
    assert "a" not in finished.candidates.collect()["teacher"].to_list()


def test_what_failed_before_the_death_stays_failed_and_the_rest_moves(
    config: Path, servers: dict[str, Any]
) -> None:
    servers["a"].behaviour.mode = "server_error"
    few = ("--set", "teachers.0.max_retries=0", "--set", "teachers.0.max_concurrency=1")
    done = run(config, *few)
    assert done.exit_code == 3, done.output
    finished = open_run(config.parent / "runs" / "r")
    assert verify_run(finished.path).problems == []
    (death,) = finished.manifest["deaths"]
    assert (death["teacher"], death["failed"]) == ("a", 0)
    assert death["rerouted"] > 0
    candidates = finished.candidates.collect()
    of_the_dead = candidates.filter(teacher="a")
    assert set(of_the_dead["error"]) == {"generate.server_error"}

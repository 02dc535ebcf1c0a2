"""Runs over two raylets on this machine: the rows of one process, also when one is killed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from arbitrage.infra.store.verify import verify_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
PROMPTS, SHARD = 60, 10


def test_ctrl_c_reaches_all_nodes_saves_the_work_and_the_run_goes_on(
    place: Any, two_nodes: Any, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process = place.start(tmp_path, two_nodes.address)
    # By then both nodes work, and the scorer of one of them has been asked.
    place.wait_until(
        lambda: place.generating(tmp_path) >= 2 and place.written(tmp_path, "scored/*"), process
    )
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
    place: Any, two_nodes: Any, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process = place.start(tmp_path, two_nodes.address)
    place.wait_until(lambda: place.generating(tmp_path) >= 2, process)
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

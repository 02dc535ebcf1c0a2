"""A budget over two raylets: all nodes together keep it, through a stop and through a death."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
PROMPTS = 60
BUDGET = 33


def ended(place: Any, process: Any, output: Path) -> int:
    """How many candidates were not asked for by a run that fell short, as it should."""
    code, _, err = place.finish(process)
    assert code == 3, err
    assert "Traceback" not in err
    (run,) = output.iterdir()
    assert verify_run(run).problems == []
    manifest = open_run(run).manifest
    failures = [cell["failures"] for cell in manifest["counts"]["cells"]]
    unasked = sum(failed.get("generate.budget_spent", 0) for failed in failures)
    said = f"run.budget_requests = {BUDGET} is spent"
    assert said in " ".join(err.split()), err
    assert manifest["totals"]["requested"] == PROMPTS
    assert manifest["totals"]["failed"] == unasked
    return unasked


def test_both_nodes_spend_one_budget_and_a_resumed_run_what_is_left_of_it(
    place: Any, two_nodes: Any, undisturbed: Any, tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    budget = f"run.budget_requests={BUDGET}"
    process = place.start(tmp_path, two_nodes.address, budget)
    place.wait_until(lambda: place.generating(tmp_path) >= 2, process)
    process.send_signal(signal.SIGINT)
    code, _, err = place.finish(process)
    assert code == 130, err
    sent = place.server.stats.requests - before
    assert 2 <= sent < BUDGET
    place.server.behaviour.latency_s = 0.05
    unasked = ended(place, place.start(tmp_path, two_nodes.address, budget), tmp_path)
    # What was in flight at the stop had time to end, so all that was sent was counted.
    assert place.server.stats.requests - before == BUDGET
    assert unasked == PROMPTS - BUDGET
    # With more money the same run goes on, and pays for the rest alone.
    (run,) = tmp_path.iterdir()
    more = f"run.budget_requests={PROMPTS}"
    process = place.start(tmp_path, two_nodes.address, more, run_id=run.name)
    code, _, err = place.finish(process)
    assert code == 0, err
    assert verify_run(run).problems == []
    assert place.configs.stable_rows(run) == undisturbed
    assert place.server.stats.requests - before == PROMPTS


def test_a_node_killed_under_a_budget_takes_no_more_of_it_than_it_was_lent(
    place: Any, two_nodes: Any, tmp_path: Path
) -> None:
    before, place.server.behaviour.latency_s = place.server.stats.requests, 1.0
    process = place.start(tmp_path, two_nodes.address, f"run.budget_requests={BUDGET}")
    place.wait_until(lambda: place.generating(tmp_path) >= 2, process)
    seen = two_nodes.kill(1)
    assert seen["shards"] >= 1, "the node was idle when it was killed"
    place.server.behaviour.latency_s = 0.05
    unasked = ended(place, process, tmp_path)
    sent = place.server.stats.requests - before
    # What it sent and nobody answered counts: the limit is one of what is sent.
    assert PROMPTS - unasked <= sent <= BUDGET
    assert sent > BUDGET - 10

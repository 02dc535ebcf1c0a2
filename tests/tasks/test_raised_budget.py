"""A run that its budget ended goes on with a larger one, and asks for nothing it has."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reward_server import RewardServer
from run_configs import changed, parsed, run_steps, served_data, stable_rows
from stand_in_server import StandIn

from arbitrage.errors import ConfigError, RunConflictError
from arbitrage.flows.redecide import redecide
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.store import layout, open_run, raised
from arbitrage.infra.store.begin import foresee
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lineage import lineage_of
from arbitrage.infra.store.open import FinishedRun
from arbitrage.infra.store.verify import verify_run
from arbitrage.tasks import score

PROMPTS = 30


class KilledError(Exception):
    """Stands for kill -9 at a write."""


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as running:
        running.behaviour.keeps = 1000
        yield running


@pytest.fixture
def data(server: StandIn, tmp_path: Path) -> dict[str, Any]:
    """30 requests wanted, in three shards, of which the budget lets 14 go."""
    return served_data(tmp_path, server.base_url, prompts=PROMPTS, budget_requests=14)


def asked(server: StandIn) -> Counter[str]:
    """How often each prompt was asked for."""
    return Counter(str(body["messages"]) for body in server.stats.kept)


def test_a_raised_budget_asks_for_the_rest_and_for_nothing_twice(
    server: StandIn, data: dict[str, Any], tmp_path: Path
) -> None:
    path = run_steps(parsed(data))
    first = open_run(path).manifest
    assert (server.stats.requests, first["totals"]["failed"]) == (14, 16)
    assert foresee(parsed(data), "done")[0] == "finished"
    assert foresee(parsed(data))[0] == "new"  # nobody named it
    more = parsed(data, run__budget_requests=100, run__workers=7)
    assert foresee(more, "done")[0] == "raised"
    assert run_steps(more) == path
    assert server.stats.requests == PROMPTS
    assert set(asked(server).values()) == {1}
    assert verify_run(path).problems == []
    last = open_run(path).manifest
    assert last["totals"]["failed"] == 0
    assert last["usage"]["served"]["requests"] == PROMPTS
    (told,) = last["continued"]
    assert told["changed"] == {"run.budget_requests": [14, 100], "run.workers": [2, 7]}
    assert told["spent"]["requests"] == 14
    assert told["manifest"] == first["sha256"]
    assert last["started_at"] == first["started_at"] <= told["at"] <= last["finished_at"]
    assert not (path / layout.WORK).exists()
    page = (path / "report.html").read_text(encoding="utf-8")
    assert "finished before: 14 requests," in page
    assert "run.budget_requests 14 -&gt; 100" in page
    # The same rows as of a run that had the money from the beginning.
    whole = changed(data, {"run.budget_requests": None, "run.output": str(tmp_path / "whole")})
    assert stable_rows(path) == stable_rows(run_steps(parsed(whole)))


def test_a_budget_can_be_raised_again_and_again(server: StandIn, data: dict[str, Any]) -> None:
    for budget in (14, 20, 26, 40):
        path = run_steps(parsed(data, run__budget_requests=budget))
        assert server.stats.requests == min(budget, PROMPTS)
        assert verify_run(path).problems == []
    told = open_run(path).manifest["continued"]
    assert [item["spent"]["requests"] for item in told] == [14, 20, 26]
    assert set(asked(server).values()) == {1}


@pytest.mark.parametrize(("limit", "said"), [(14.0, "14"), (9.0, "9")])
def test_a_budget_below_what_is_spent_is_refused_with_both_figures(
    server: StandIn, data: dict[str, Any], limit: float, said: str
) -> None:
    path = run_steps(parsed(data))
    before = (path / layout.MANIFEST).read_bytes()
    less = parsed(data, run__budget_requests=limit, run__budget_tokens=10**9)
    with pytest.raises(ConfigError) as refused:
        run_steps(less)
    assert f"run.budget_requests = {said} leaves nothing to ask for" in str(refused.value)
    assert "has spent 14 of 14 already" in str(refused.value)
    assert (path / layout.MANIFEST).read_bytes() == before
    assert server.stats.requests == 14


def test_a_round_made_from_it_says_that_its_parent_has_grown(data: dict[str, Any]) -> None:
    path = run_steps(parsed(data))
    seen = open_run(path)
    record = {"student": None, "before": [], "address": str(path)}
    record |= {key: seen.manifest[key] for key in ("run_id", "sha256", "finished_at")}
    child = FinishedRun(Folder(path.parent / "child"), {**seen.manifest, "parent": record})
    assert [item.state for item in lineage_of(child)] == ["whole", "this run"]
    run_steps(parsed(data, run__budget_requests=100))
    assert [item.state for item in lineage_of(child)] == ["grown", "this run"]


def test_a_run_without_its_work_folder_says_that_it_cannot_go_on(
    server: StandIn, data: dict[str, Any]
) -> None:
    path = run_steps(parsed(data))
    Folder(path).remove(layout.WORK)
    with pytest.raises(RunConflictError, match='its folder "unfinished" is gone'):
        run_steps(parsed(data, run__budget_requests=100))
    assert verify_run(path).problems == []
    assert server.stats.requests == 14


def test_a_run_decided_again_in_place_goes_on_as_it_began(
    server: StandIn, data: dict[str, Any]
) -> None:
    path = run_steps(parsed(data))
    redecide(path, overrides=["filters.length.min_words=1"], in_place=True)
    other = changed(data, {"filters.length.min_words": 1, "run.budget_requests": 100})
    with pytest.raises(RunConflictError, match="was decided again in place"):
        run_steps(parsed(other))
    assert verify_run(path).problems == []
    run_steps(parsed(data, run__budget_requests=100))
    assert server.stats.requests == PROMPTS
    assert verify_run(path).problems == []
    assert open_run(path).manifest["config"]["filters"]["length"]["min_words"] == 2


def test_a_run_decided_again_beside_it_asks_nobody_and_says_whose_turn_it_is(
    server: StandIn, data: dict[str, Any]
) -> None:
    path = run_steps(parsed(data))
    again = Path(str(redecide(path, run_id="again")))
    assert not (again / layout.WORK).exists()
    with pytest.raises(RunConflictError, match='was decided again from "done" and asks nobody'):
        run_steps(parsed(data, run__budget_requests=100), "again")
    assert server.stats.requests == 14


def test_another_config_is_still_another_run(server: StandIn, data: dict[str, Any]) -> None:
    run_steps(parsed(data))
    with pytest.raises(RunConflictError, match="another config"):
        run_steps(parsed(data, run__budget_requests=100, run__seed=8))
    assert server.stats.requests == 14


@pytest.mark.parametrize("step", ["routed", "generated", "scored", "decided", "viewed"])
def test_a_raised_run_that_is_stopped_goes_on_also_without_its_id(
    server: StandIn, data: dict[str, Any], step: str
) -> None:
    run_steps(parsed(data))
    more = parsed(data, run__budget_requests=100)
    path = run_steps(more, upto=step)
    how, found = foresee(more)
    assert (how, found) == ("continued", path)
    assert run_steps(more) == path
    assert set(asked(server).values()) == {1}
    assert server.stats.requests == PROMPTS
    assert verify_run(path).problems == []
    first, *later = open_run(path).manifest["continued"]
    assert first["changed"] == {"run.budget_requests": [14, 100]}
    assert [item["changed"] for item in later] == [{}]


def test_a_kill_at_any_file_of_the_way_back_loses_nothing_and_pays_nothing_twice(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = served_data(tmp_path, server.base_url, prompts=6, budget_requests=4, shard_size=3)
    ended = run_steps(parsed(data))
    remove, write = Folder.remove, Folder.write_bytes
    for kill_at in range(100):
        begun = server.stats.requests
        output = tmp_path / f"killed-{kill_at}"
        shutil.copytree(ended.parent, output)
        more = parsed(data, run__budget_requests=100, run__output=str(output))
        left = iter(range(kill_at))

        def step(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KilledError

        def removing(folder: Folder, *names: str) -> None:
            for name in names:
                step()
                remove(folder, name)

        def writing(folder: Folder, name: str, content: bytes) -> None:
            step()
            write(folder, name, content)

        with monkeypatch.context() as patched:
            patched.setattr(Folder, "remove", removing)
            patched.setattr(Folder, "write_bytes", writing)
            try:
                run_steps(more, upto="input")
                killed = False
            except KilledError:
                killed = True
        path = run_steps(more)
        assert verify_run(path).problems == [], kill_at
        assert open_run(path).manifest["totals"]["failed"] == 0
        assert server.stats.requests == begun + 2
        if not killed:
            break
    assert kill_at > 8  # the loop did what it is named for


def test_an_unfinished_run_whose_shards_met_the_end_asks_for_them_with_more(
    server: StandIn, data: dict[str, Any]
) -> None:
    path = run_steps(parsed(data), upto="scored")
    assert run_steps(parsed(data, run__budget_requests=100)) == path
    assert open_run(path).manifest["totals"]["failed"] == 0
    assert set(asked(server).values()) == {1}
    assert server.stats.requests == PROMPTS


def test_an_unfinished_run_with_less_money_than_it_spent_ends_at_once_with_what_it_has(
    server: StandIn, data: dict[str, Any]
) -> None:
    run_steps(parsed(data), upto="routed")
    run_steps(parsed(data), upto="generated")
    path = run_steps(parsed(data, run__budget_requests=5))
    assert server.stats.requests == 14
    assert open_run(path).manifest["totals"]["failed"] == 16


def test_scores_that_were_not_paid_for_are_asked_for_and_no_others(
    server: StandIn, data: dict[str, Any]
) -> None:
    with RewardServer() as judge:
        params = {"base_url": judge.base_url, "model": "m", "concurrency": 3}
        data["filters"] = {"judge": {**params, "way": "pointwise"}}
        data["select"] = {"objective": "maximize:judge.score"}
        data["run"]["budget_requests"] = PROMPTS + 12
        path = run_steps(parsed(data))
        assert server.stats.requests == PROMPTS
        assert len(judge.bodies) == 12
        unscored = open_run(path).manifest["rewards"]["unscored"]["judge"]
        assert unscored["budget_spent"] == PROMPTS - 12
        run_steps(parsed(data, run__budget_requests=100))
        assert (server.stats.requests, len(judge.bodies)) == (PROMPTS, PROMPTS)
        assert open_run(path).manifest["rewards"]["unscored"] == {}


def test_what_a_finished_run_lacks_is_counted_over_answers_and_prompts() -> None:
    cell = {"language": "tr", "teacher": "a", "failed": 2, "failures": {SPENT: 2}}
    prompts = {"language": "ko", "prompts": 4, "reasons": {SPENT: 4}}
    manifest = {"counts": {"cells": [cell], "unroutable": [prompts]}}
    assert raised.unasked(manifest) == 6
    assert raised.goes_on(manifest)
    assert not raised.goes_on({**manifest, "decided_from": "x"})
    assert not raised.goes_on({"counts": {"cells": [], "unroutable": []}})


def test_a_shard_is_unpaid_only_where_the_budget_refused_something(data: dict[str, Any]) -> None:
    import pyarrow as pa

    config = parsed(data)
    for errors, unpaid in (([None, SPENT], True), ([None, "generate.timeout"], False)):
        table = pa.table({"error": pa.array(errors, pa.string())})
        assert score.is_unpaid(table, config) is unpaid

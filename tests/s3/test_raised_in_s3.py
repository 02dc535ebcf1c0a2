"""A run in a store that its budget ended goes on with a larger one, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from run_configs import served_data
from stand_in_server import StandIn

from arbitrage.errors import ConfigError, DamagedRunError
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.begin import foresee
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.s3
PROMPTS, BUDGET = 20, 9


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as running:
        running.behaviour.keeps = 1000
        yield running


@pytest.fixture
def short(world: Any, server: StandIn) -> Any:
    """A world whose run asks a real teacher, as far as a budget of 9 requests goes."""
    data = served_data(world.folder, server.base_url, prompts=PROMPTS, budget_requests=BUDGET)
    data["run"] |= {key: world.data["run"][key] for key in ("output", "storage")}
    data["run"]["shard_size"] = 5
    return replace(world, data=data)


def asked_once(server: StandIn) -> bool:
    asked = [str(body["messages"]) for body in server.stats.kept]
    return len(asked) == len(set(asked)) == server.stats.requests


def test_it_goes_on_from_anywhere_and_the_store_holds_what_it_would_have_held(
    short: Any, server: StandIn
) -> None:
    place = short.run()
    first = open_run(place).manifest
    assert (server.stats.requests, first["totals"]["failed"]) == (BUDGET, PROMPTS - BUDGET)
    short.elsewhere()
    assert verify_run(place).problems == []
    with pytest.raises(ConfigError, match="leaves nothing to ask for"):
        foresee(short.config(run__budget_requests=5), "done")
    more = short.config(run__budget_requests=100)
    assert foresee(more, "done")[0] == "raised"
    assert foresee(more)[0] == "new"
    assert str(short.configs.run_steps(more)) == place
    assert server.stats.requests == PROMPTS
    assert asked_once(server)
    short.elsewhere()
    assert verify_run(place).problems == []
    last = open_run(place).manifest
    assert last["totals"]["failed"] == 0
    assert [item["manifest"] for item in last["continued"]] == [first["sha256"]]
    assert short.rows(place) == short.rows(
        str(
            short.configs.run_steps(
                short.config(
                    run__budget_requests=None,
                    run__output=str(short.folder / "local"),
                    run__storage=None,
                )
            )
        )
    )
    left = short.keys()
    assert [key for key in left if layout.WORK in key or ".arbitrage" in key] == []


@pytest.mark.parametrize("store", ["moto"], indirect=True)
@pytest.mark.parametrize("step", ["input", "generated", "scored", "decided", "viewed"])
def test_stopped_after_any_step_it_goes_on_elsewhere_and_pays_nothing_twice(
    short: Any, server: StandIn, step: str
) -> None:
    place = short.run()
    short.elsewhere()
    more = short.config(run__budget_requests=100)
    short.configs.run_steps(more, upto=step)
    with pytest.raises(DamagedRunError, match="not a finished run"):
        open_run(place)
    short.elsewhere()
    assert foresee(more)[0] == "continued"
    assert str(short.configs.run_steps(more)) == place
    assert asked_once(server)
    assert server.stats.requests == PROMPTS
    short.elsewhere()
    assert verify_run(place).problems == []


@pytest.mark.parametrize("store", ["moto"], indirect=True)
def test_a_machine_that_saw_it_finish_sees_what_became_of_it(short: Any, server: StandIn) -> None:
    place = short.run()
    here = open_run(place)
    assert here.candidates.collect().height == PROMPTS
    cache = short.folder / "cache"
    short.elsewhere()
    short.configs.run_steps(short.config(run__budget_requests=100))
    short.monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    again = open_run(place)
    assert again.candidates.collect()["error"].null_count() == PROMPTS
    assert asked_once(server)

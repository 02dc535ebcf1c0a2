"""What runs over several processes need, without a cluster: configs, checks, errors, counts."""

from __future__ import annotations

import pickle
import time
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

import arbitrage
from arbitrage.config.ray import RayOptions
from arbitrage.errors import (
    ArbitrageError,
    ConfigError,
    EndpointError,
    InterruptedRunError,
    unknown_name,
)
from arbitrage.filters.base import Batch, Scores
from arbitrage.filters.scoring import close_filters, measure, use_filter
from arbitrage.infra.interrupt import stop
from arbitrage.infra.progress import board
from arbitrage.infra.store import layout
from arbitrage.infra.store.deaths import carry_deaths, record_deaths, told_deaths
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.tasks.cluster.join import _started, initial
from arbitrage.tasks.cluster.nodes import complaint
from arbitrage.tasks.cluster.scorers import heavy_filters
from arbitrage.tasks.cluster.shard import counts_since, stopping_when_told, tell_to_stop
from arbitrage.tasks.running import check_runner


@pytest.fixture
def data(run_configs: ModuleType, tmp_path: Path) -> dict[str, Any]:
    made = run_configs.served_data(tmp_path, "http://localhost:1/v1")
    made["run"]["runner"] = "ray"
    return made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"run.output": "s3://bucket/runs", "run.ray": {"address": "auto"}},
            "Set run.storage.work_folder to one that they share",
        ),
        ({"run.workers": 5}, "asked 4 things at a time, which cannot be divided among run.workers"),
        ({"run.ray": {"address": "ray://head:10001"}}, "Ray Client .* is not supported"),
        ({"run.runner": "dask"}, "Input should be 'threads' or 'ray'"),
        (
            {"teachers.0.backend": "vllm", "teachers.0.base_url": None},
            "would be started once for each shard in work",
        ),
    ],
)
def test_what_cannot_hold_over_processes_is_refused_before_anything_is_asked(
    run_configs: ModuleType, data: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    run_configs.parsed(data)
    with pytest.raises(ValidationError, match=said):
        run_configs.RunConfig.model_validate(run_configs.changed(data, changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"run.budget_requests": 9, "run.budget_tokens": 100},
        {"run.output": "s3://bucket/runs"},
        {
            "run.output": "s3://bucket/runs",
            "run.ray": {"address": "auto"},
            "run.storage": {"work_folder": "/shared/work"},
        },
    ],
)
def test_budgets_hold_over_processes_and_a_bucket_needs_a_folder_that_they_share(
    run_configs: ModuleType, data: dict[str, Any], changes: dict[str, Any]
) -> None:
    config = run_configs.RunConfig.model_validate(run_configs.changed(data, changes))
    assert config.run.runner == "ray"


def test_the_runner_leaves_a_run_the_same_run(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    here = run_configs.parsed(data, run__runner="threads")
    there = run_configs.parsed(data, run__ray={"address": "head:6379"})
    assert here.identity == there.identity


def test_a_missing_extra_is_said_with_the_mend(
    run_configs: ModuleType, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.tasks.running.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs ray and prefect_ray.*pip install .*\[ray\]"):
        check_runner(run_configs.parsed(data))
    assert "threads" in check_runner(run_configs.parsed(data, run__runner="threads"))


def test_no_folder_of_the_tests_is_taken_for_the_package() -> None:
    spec = util.find_spec("ray")
    assert spec is None or spec.origin is not None


def test_a_local_cluster_is_small_and_a_joined_one_is_taken_as_it_is(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    config = run_configs.parsed(data, run__workers=3)
    local = initial(RayOptions(cpus_per_shard=0.5), config)
    assert (local["num_cpus"], local["include_dashboard"]) == (2, False)
    joined = initial(RayOptions(address="head:6379"), config)
    assert "num_cpus" not in joined
    assert joined["address"] == "head:6379"


SEEN = {"version": arbitrage.__version__, "folder": True, "locks": True, "api": True}


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ({"version": "0.0.0"}, "has version 0.0.0"),
        ({"folder": False}, 'does not see "/shared/run"'),
        ({"locks": False}, "does not carry locks"),
        ({"api": False}, "does not reach Prefect at http://head:4200/api"),
    ],
)
def test_a_node_that_will_not_do_is_named_with_what_it_lacks(
    lacks: dict[str, Any], said: str
) -> None:
    complaint("the node 10.0.0.2", SEEN, "/shared/run", "http://head:4200/api")
    with pytest.raises(ConfigError, match=rf"the node 10\.0\.0\.2 .*{said}"):
        complaint("the node 10.0.0.2", {**SEEN, **lacks}, "/shared/run", "http://head:4200/api")


@pytest.mark.parametrize(
    "error",
    [
        ArbitrageError("what.", known=["b", "a"], mend="Mend."),
        unknown_name("filter", "lenght", ["length"]),
        EndpointError("no answer.", cause="denied"),
        StorageError("full.", mend="Make room.", passing=True),
        InterruptedRunError("stopped."),
    ],
)
def test_an_error_says_the_same_in_another_process(error: ArbitrageError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_board_that_is_sent_elsewhere_is_the_one_that_is_there() -> None:
    assert pickle.loads(pickle.dumps(board)) is board


def test_what_a_shard_adds_to_the_board_is_told_apart() -> None:
    board.add(finished=5)
    before = board.read()
    board.add(finished=3, failed=1)
    counted = counts_since(before)
    assert (counted["finished"], counted["failed"], counted["shards"]) == (3, 1, 0)


def test_a_process_elsewhere_stops_when_the_folder_says_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    stop.set()  # left by an earlier shard of this process
    try:
        with stopping_when_told(folder):
            assert not stop.is_set()
            tell_to_stop(folder)
            deadline = time.monotonic() + 60
            while not stop.is_set():
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        stop.clear()


def test_deaths_that_shards_report_add_up(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    carry_deaths(folder, [{"teacher": "c", "reason": "old", "rerouted": 1}])
    record_deaths(folder, 0, {"a": "refused"}, {"a": 2})
    record_deaths(folder, 1, {"a": "refused", "b": "stalled"}, {"a": 3, "b": 1})
    record_deaths(folder, 0, {"a": "refused"}, {"a": 4})
    told = told_deaths(folder, {"cells": []})
    assert {death["teacher"]: death["rerouted"] for death in told} == {"a": 9, "b": 1, "c": 1}
    assert sorted(folder.names(layout.DEATHS)) == [
        f"{layout.DEATHS}/{name}.json" for name in ("00000", "00001", "carried")
    ]


def test_a_filter_is_scored_by_what_stands_in_for_it(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    config = run_configs.parsed(data, filters__toxicity={"scorer": "light"})
    assert list(heavy_filters(config)) == ["toxicity"]
    assert heavy_filters(run_configs.parsed(data, filters__toxicity={})) == {}
    params: Any = config.filter_params["toxicity"]

    class StandIn:
        def score(self, batch: Batch) -> Scores:
            return Scores({"toxicity": [0.25] * len(batch)})

        def close(self) -> None: ...

    use_filter("toxicity", params, StandIn())  # type: ignore[arg-type]
    try:
        scores = measure("toxicity", params, Batch(["a", "b"], ["en", "th"], [None, None]))
    finally:
        close_filters()
    assert scores["toxicity.toxicity"].tolist() == [0.25, 0.25]


def test_a_cluster_that_fails_without_a_word_is_a_config_error_all_the_same() -> None:
    class Runner:
        def __init__(self) -> None:
            self.init_kwargs = {"address": "auto"}

        def __enter__(self) -> None:
            raise TimeoutError

    with pytest.raises(ConfigError, match=r'"auto": TimeoutError\(\)'), _started(Runner()):
        pass

"""What a task tries again, and what every task of the run shares."""

from __future__ import annotations

import importlib
import pkgutil
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

import arbitrage.tasks
from arbitrage.errors import ConfigError, InterruptedRunError, OutputError, SourceError
from arbitrage.infra.interrupt import stop
from arbitrage.tasks.policy import unfinished, worth_retrying


def tasks() -> dict[str, Task[Any, Any]]:
    modules = [
        importlib.import_module(f"arbitrage.tasks.{module.name}")
        for module in pkgutil.iter_modules(arbitrage.tasks.__path__)
    ]
    values = [(name, value) for module in modules for name, value in vars(module).items()]
    return {name: value for name, value in values if isinstance(value, Task)}


def failed_with(error: BaseException) -> Any:
    return SimpleNamespace(result=lambda raise_on_failure: error)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("wrong"),
        SourceError("gone"),
        OutputError("full"),
        InterruptedRunError("stop"),
        KeyboardInterrupt(),
    ],
)
def test_what_somebody_has_to_mend_is_not_tried_again(error: BaseException) -> None:
    assert not worth_retrying(None, None, failed_with(error))


@pytest.mark.parametrize("error", [OSError("stale handle"), ConnectionError(), TimeoutError()])
def test_what_may_pass_by_itself_is_tried_again(error: BaseException) -> None:
    assert worth_retrying(None, None, failed_with(error))


def test_every_step_is_a_task_without_a_cache_of_its_own() -> None:
    """The run store says what is done; Prefect's cache would not see that code it calls changed."""
    found = tasks()
    steps = {"load_prompts", "complete_shard", "match_candidates", "merge_moments"}
    steps |= {"decide_candidates"}
    steps |= {"write_view", "publish_run", "report_run"}
    assert steps <= set(found)
    for name, task in found.items():
        assert task.cache_policy is NO_CACHE, name


def test_a_task_does_not_begin_once_the_run_is_to_stop() -> None:
    stop.set()
    try:
        with pytest.raises(InterruptedRunError, match="everything finished is saved"):
            unfinished("nowhere")
    finally:
        stop.clear()

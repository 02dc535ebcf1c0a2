"""Off-policy value of a router on a run of recorded answers, where its true value is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from arbitrage.errors import RouterError, UnknownNameError
from arbitrage.infra.store import FinishedRun, open_run
from arbitrage.routers.fit import fit_artefact
from arbitrage.routers.off_policy import off_policy_value
from arbitrage.routers.reward_log import reward_log_of
from arbitrage.tasks.valuing import logged_run


@pytest.fixture(scope="module")
def finished(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Recorded answers: alpha's are in the language asked for, beta's always in Turkish."""
    data = run_configs.replay_data(tmp_path_factory.mktemp("valued"), per_language=30)
    data["router"] = {"kind": "uniform"}
    path: Path = run_configs.run_steps(run_configs.parsed(data))
    return open_run(path)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    def make(alpha: float, kind: str = "fixed") -> Path:
        rows = [
            (f"{tag}{i}", tag, None, teacher, reward)
            for tag in ("ar", "tr", "zh")
            for i in range(9)
            for teacher, reward in (("alpha", alpha), ("beta", 0.5))
        ]
        names = ["prompt_id", "language", "prompt", "teacher", "reward"]
        log = reward_log_of(pl.DataFrame(rows, schema=names, orient="row").to_arrow(), "made")
        folder = tmp_path_factory.mktemp("artefact")
        fit_artefact(log, folder, kind=kind)
        return folder

    return make


def test_the_true_value_of_another_router_is_found_on_a_uniform_run(
    finished: FinishedRun, artefact: Any
) -> None:
    logged = logged_run(finished, artefact(1.0), "language_id.match")
    assert logged.notes == ()
    found = off_policy_value(logged.log)
    assert found["n_prompts"] == 300
    assert found["unseen_mass"] == 0
    # All to alpha, which always answers in the language.
    for name in ("snips", "dr"):
        assert found["estimates"][name]["value"] == pytest.approx(1.0, abs=0.02)
    assert found["estimates"]["ips"]["ci95"][0] < 1.0 < found["estimates"]["ips"]["ci95"][1]
    assert found["estimates"]["dr"]["vs_logged"]["ci95"][0] > 0.2


def test_the_worse_router_is_worth_less_and_minimising_turns_the_sign(
    finished: FinishedRun, artefact: Any
) -> None:
    worse = artefact(0.0, kind="learned")
    found = off_policy_value(logged_run(finished, worse, "language_id.match").log)
    # Only Turkish is right in Turkish: one language of ten.
    assert found["estimates"]["snips"]["value"] == pytest.approx(0.1, abs=0.05)
    turned = off_policy_value(logged_run(finished, worse, "minimize:language_id.match").log)
    assert turned["estimates"]["dr"]["value"] == pytest.approx(-found["estimates"]["dr"]["value"])


def test_a_measure_or_an_artefact_that_is_not_there_is_said(
    finished: FinishedRun, artefact: Any, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match=r"language_id\.match"):
        logged_run(finished, artefact(1.0), "language_id.mach")
    with pytest.raises(RouterError, match="no router artefact"):
        logged_run(finished, tmp_path, "language_id.match")

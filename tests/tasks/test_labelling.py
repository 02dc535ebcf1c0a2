"""What a calibration asks and of whom, and what it refuses before anything is paid for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from reward_logs import topical

from arbitrage.config import RunConfig, parse_config
from arbitrage.errors import ArbitrageError
from arbitrage.infra.sources import read_prompts
from arbitrage.infra.sources.sample import sample_prompts
from arbitrage.infra.store import open_run
from arbitrage.routers.fit import fit_artefact
from arbitrage.routers.reward_log import reward_log_of
from arbitrage.tasks.labelling import (
    calibration_identity,
    check_in_use,
    first_choice,
    labelling_config,
    second_choice,
    settled,
)
from arbitrage.tasks.rewards import reward_log_table


@pytest.fixture(name="data")
def _data(run_configs: ModuleType, tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = run_configs.replay_data(tmp_path, samples=2, per_language=6)
    artefact = str(tmp_path / "router")
    return data | {"calibrate": {"artefact": artefact, "reward": "maximize:language_id.match"}}


@pytest.fixture(name="config")
def _config(run_configs: ModuleType, data: dict[str, Any]) -> RunConfig:
    return run_configs.parsed(data)  # type: ignore[no-any-return]


def sampled(config: RunConfig, size: int = 1000, rows: int = 7) -> Any:
    return sample_prompts(read_prompts(config.prompts, chunk_rows=rows), size, seed=3)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"calibrate.reward": None, "select": {}, "views": {}},
            "nothing says what a good answer is",
        ),
        ({"calibrate.artefact": None}, "nothing says which artefact is in use"),
        ({"teachers.1": None, "router": {"kind": "uniform"}}, "there is one teacher, alpha"),
        ({"calibrate.kind": "lerned"}, 'Did you mean "learned"'),
        (
            {
                "router": {"kind": "learned", "artefact": "here"},
                "calibrate.kind": "nearest",
                "calibrate.artefact": "here",
            },
            "would replace the artefact that router.kind",
        ),
        ({"calibrate.reward": "maximize:language_id.mach"}, "not a measure of this run"),
        ({"calibrate.reward": "language_id.match"}, "not an objective"),
        ({"calibrate.prompt": 5}, 'Did you mean "prompts"'),
        ({"calibrate.prompts": 1}, "greater than or equal to 2"),
        ({"calibrate.random_share": 0.0}, "greater than 0"),
    ],
)
def test_a_config_that_cannot_be_calibrated_is_refused_with_its_mend(
    run_configs: ModuleType, data: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    if "teachers.1" in changes:
        data["teachers"] = data["teachers"][:1]
    given = {key: value for key, value in changes.items() if key != "teachers.1"}
    with pytest.raises(ArbitrageError, match=message):
        settled(parse_config(run_configs.changed(data, given)))


def test_an_artefact_of_another_pool_is_refused_and_one_of_a_part_of_it_is_not(
    config: RunConfig,
) -> None:
    check_in_use(config)
    place = Path(settled(config).artefact or "")
    fit_artefact(reward_log_of(topical(30), "log"), place, kind="learned", metrics={})
    with pytest.raises(ArbitrageError, match=r"another pool: both, sums, tales.*alpha, beta"):
        check_in_use(config)
    rows = topical(30).to_pylist()
    names = {"both": "alpha", "sums": "gamma", "tales": "delta"}
    mine = pl.DataFrame(rows).with_columns(pl.col("teacher").replace(names)).to_arrow()
    fit_artefact(reward_log_of(mine, "log"), place, kind="learned", metrics={})
    check_in_use(config)


# What is asked


def test_a_calibration_is_the_same_whatever_artefact_is_in_use(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    learned = run_configs.changed(
        data, {"router": {"kind": "learned", "artefact": data["calibrate"]["artefact"]}}
    )
    before = calibration_identity(run_configs.parsed(learned))
    place = Path(data["calibrate"]["artefact"])
    fit_artefact(reward_log_of(topical(30), "log"), place, kind="learned", metrics={})
    assert calibration_identity(run_configs.parsed(learned)) == before
    more = run_configs.changed(learned, {"calibrate.prompts": 9})
    assert calibration_identity(run_configs.parsed(more)) != before


def test_calibrate_does_not_change_which_run_a_config_is(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    without = run_configs.parsed(run_configs.changed(data, {"calibrate": None}))
    assert run_configs.parsed(data).identity == without.identity
    assert "calibrate" not in without.resolved()


def test_the_runs_ask_every_teacher_and_choose_nothing(config: RunConfig, tmp_path: Path) -> None:
    asking = labelling_config(config, tmp_path, "random")
    assert asking is not None
    assert asking.router.kind == "uniform"
    assert asking.router.teachers_per_prompt == 2
    assert not asking.views
    assert asking.select.objective is None
    assert asking.filter_params == config.filter_params
    assert asking.run.samples == 2


def test_a_budget_is_for_both_runs_together(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    config = run_configs.parsed(run_configs.changed(data, {"run.budget_requests": 100}))
    used = {"usd": 0.0, "requests": 60, "tokens": 9}
    second = labelling_config(config, tmp_path, "chosen", used)
    assert second is not None
    assert second.run.budget_requests == 40
    assert labelling_config(config, tmp_path, "chosen", used | {"requests": 100}) is None


# Which prompts


@pytest.mark.parametrize("size", [10, 25, 1000])
def test_a_sample_is_even_over_languages_and_does_not_depend_on_chunks(
    config: RunConfig, size: int
) -> None:
    found = sampled(config, size, 7)
    assert sorted(found["prompt_id"].to_pylist()) == sorted(
        sampled(config, size, 1000)["prompt_id"].to_pylist()
    )
    counts = Counter(found["language"].to_pylist())
    assert set(counts.values()) == {min(6, size // 10)}
    assert len(counts) == 10


def test_choices_are_disjoint_even_and_within_what_was_asked_for(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    config = run_configs.parsed(run_configs.changed(data, {"calibrate.prompts": 30}))
    asked, pool = settled(config), sampled(config)
    first = first_choice(pool, asked, 7)
    rows = [
        (key, tag, "x", name, float(name == "alpha"))
        for key, tag in pl.DataFrame(first).select("prompt_id", "language").iter_rows()
        for name in ("alpha", "beta")
    ]
    names = ["prompt_id", "language", "prompt", "teacher", "reward"]
    log = reward_log_of(pl.DataFrame(rows, schema=names, orient="row").to_arrow(), "log")
    second = second_choice(pool, log, asked, 7)
    assert (first.num_rows, second.num_rows) == (15, 15)
    assert not set(first["prompt_id"].to_pylist()) & set(second["prompt_id"].to_pylist())
    both = Counter(first["language"].to_pylist() + second["language"].to_pylist())
    assert set(both.values()) == {3}


def test_more_than_there_is_asks_for_what_there_is_and_a_language_for_its_most(
    run_configs: ModuleType, data: dict[str, Any]
) -> None:
    wide = run_configs.changed(data, {"calibrate.prompts": 5000, "calibrate.random_share": 1.0})
    config = run_configs.parsed(wide)
    assert first_choice(sampled(config), settled(config), 7).num_rows == 60
    capped = run_configs.parsed(run_configs.changed(wide, {"calibrate.per_language": 4}))
    tags = first_choice(sampled(capped), settled(capped), 7)["language"].to_pylist()
    assert set(Counter(tags).values()) == {4}


# Rewards


def test_rewards_are_means_over_samples_and_rejected_answers_count_as_told(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    path = run_configs.run_steps(run_configs.parsed(data))
    opened = open_run(path)
    measured = pl.DataFrame(reward_log_table({"random": opened}, "maximize:length.words"))
    assert measured.columns[:7] == [
        "prompt_id", "language", "prompt", "task", "source", "teacher", "reward",
    ]  # fmt: skip
    assert measured.height == 60 * 2
    assert set(measured["n_samples"]) == {2}
    frame = opened.candidates.filter(
        pl.col("prompt_id") == "vi-0", pl.col("teacher") == "alpha"
    ).collect()
    (mine,) = measured.filter(pl.col("prompt_id") == "vi-0", pl.col("teacher") == "alpha")["reward"]
    assert mine == pytest.approx(frame["length.words"].mean())
    told = pl.DataFrame(
        reward_log_table({"random": opened}, "maximize:length.words", rejected_reward=-1.0)
    )
    wrong = told.filter(pl.col("teacher") == "beta", pl.col("language") == "ja")
    assert set(wrong["reward"]) == {-1.0}
    weighed = reward_log_table({"random": opened}, {"length.words": 1.0, "length.characters": 0.5})
    assert pl.DataFrame(weighed)["reward"].is_finite().all()


def test_failed_answers_have_no_reward_whatever_rejected_ones_get(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    rows = run_configs.prompt_rows(1)
    source = run_configs.write_prompts(tmp_path / "one.parquet", rows)
    said = run_configs.write_recordings(
        tmp_path / "said.parquet",
        rows,
        samples=2,
        completion=lambda tag, teacher, _: None if teacher == "beta" else "bir iki üç dört",
    )
    changes: dict[str, Any] = {"prompts.source": str(source), "run.name": "failing"}
    changes |= {f"teachers.{n}.recordings": str(said) for n in (0, 1)}
    path = run_configs.run_steps(run_configs.parsed(run_configs.changed(data, changes)), "failing")
    table = pl.DataFrame(
        reward_log_table({"random": open_run(path)}, "maximize:length.words", rejected_reward=0.0)
    )
    assert table.filter(pl.col("teacher") == "beta")["reward"].null_count() == len(rows)
    assert table.filter(pl.col("teacher") == "alpha")["reward"].null_count() == 0

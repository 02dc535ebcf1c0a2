"""The reward router: every teacher answers, and a measure or a composite of measures decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from run_configs import FILTERS, changed, parsed, replay_data, run_steps

from arbitrage.config import RouterConfig, RunConfig, load_config, parse_config
from arbitrage.errors import ConfigError
from arbitrage.infra.store import open_run
from arbitrage.routers.drawing import route
from arbitrage.schema import PROMPTS

COMPOSITE = {"length.words": 1.0, "lexical_diversity.mtld": 0.5}
QUIET = {**FILTERS, "language_id": {}, "length": {}}
LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en"]


def data_of(folder: Path, reward: Any, **select: Any) -> dict[str, Any]:
    data = replay_data(folder, samples=2)
    router = {"kind": "reward", "reward": reward}
    return {**data, "router": router, "select": select, "filters": QUIET, "views": {"sft": {}}}


def three_teachers() -> dict[str, Any]:
    return {
        "prompts": {"source": "prompts.parquet"},
        "teachers": [{"name": n, "backend": "replay", "recordings": "r.parquet"} for n in "abc"],
        "router": {"kind": "reward", "reward": "maximize:length.words"},
        "filters": {"length": {}},
    }


def test_the_config_says_in_full_what_the_router_means(tmp_path: Path) -> None:
    for reward in ("maximize:length.words", COMPOSITE):
        config = parse_config(data_of(tmp_path, reward))
        assert config.router.teachers_per_prompt == 2
        assert (config.select.objective, config.select.per_prompt) == (reward, 1)
        assert RunConfig.model_validate(config.resolved()).identity == config.identity


def test_what_contradicts_it_is_an_error(tmp_path: Path) -> None:
    data = data_of(tmp_path, "maximize:length.words")
    with pytest.raises(ConfigError, match="asks every teacher, all 2"):
        parse_config(changed(data, {"router.teachers_per_prompt": 1}))
    with pytest.raises(ConfigError, match=r'router\.reward: "length.word" is not a measure'):
        parse_config(data_of(tmp_path, "maximize:length.word"))
    with pytest.raises(ConfigError, match="is not an objective"):
        parse_config(data_of(tmp_path, "length.words"))
    with pytest.raises(ConfigError, match=r"router\.reward: required"):
        parse_config({**data, "router": {"kind": "reward"}})
    router = RouterConfig.model_validate({"kind": "reward", "reward": "maximize:length.words"})
    with pytest.raises(ValueError, match="asks every teacher, all 2"):
        RunConfig.model_validate({**data, "router": router})


def test_what_the_config_says_of_choosing_stays() -> None:
    said = {"objective": "minimize:length.words", "per_prompt": 2}
    config = RunConfig.model_validate({**three_teachers(), "select": said})
    assert (config.select.objective, config.select.per_prompt) == ("minimize:length.words", 2)


def test_every_admitted_teacher_is_drawn_for_certain() -> None:
    content = three_teachers()
    content["teachers"][2]["languages"] = ["tr"]
    messages = [[{"role": "user", "content": f"soru {n}"}] for n in range(len(LANGUAGES))]
    rows = [
        {"prompt_id": tag, "messages": asked, "language": tag, "source": "s"}
        for tag, asked in zip(LANGUAGES, messages, strict=True)
    ]
    prompts = pa.Table.from_pylist(rows, schema=PROMPTS)
    routes = route(prompts, RunConfig.model_validate(content)).routes
    drawn = dict(zip(LANGUAGES, routes["drawn"].to_pylist(), strict=True))
    assert drawn.pop("tr") == ["a", "b", "c"]
    assert list(drawn.values()) == [["a", "b"]] * 9
    assert {p for row in routes["propensities"].to_pylist() for p in row} == {1.0}


def test_every_teacher_answers_and_the_best_by_the_composite_is_chosen(tmp_path: Path) -> None:
    data = data_of(tmp_path, COMPOSITE)
    view = {"preference": {"reward": COMPOSITE, "include_filtered": True}}
    config = parsed({**data, "views": {"sft": {}, **view}})
    run = open_run(run_steps(config))
    candidates = run.candidates.collect()
    assert (candidates["route_probability"] == 1).all()
    assert set(candidates["router"]) == {"reward@1"}
    by_prompt = candidates.group_by("prompt_id").agg(
        pl.len(), pl.col("teacher").n_unique(), pl.col("chosen").sum().alias("chosen_count")
    )
    assert set(by_prompt["len"]) == {4}
    assert set(by_prompt["teacher"]) == {2}
    assert set(by_prompt["chosen_count"]) == {1}
    # By hand: z-scores within the language over the whole run, weighted.
    total = np.zeros(len(candidates))
    for measure, weight in COMPOSITE.items():
        column = pl.col(measure)
        z = (column - column.mean().over("language")) / column.std(ddof=0).over("language")
        scores = candidates.select(z.fill_nan(0.0).fill_null(0.0)).to_series().to_numpy()
        total += weight * scores
    scored = candidates.with_columns(total=pl.Series(total)).filter(
        pl.col("lexical_diversity.mtld").is_not_null()
    )
    best = scored.group_by("prompt_id").agg(pl.col("total").max())
    chosen = scored.filter("chosen").select("prompt_id", mine="total")
    joined = chosen.join(best, on="prompt_id")
    assert len(joined) > 20
    np.testing.assert_allclose(joined["mine"], joined["total"], atol=1e-5)
    assert run.view("preference").collect().height > 0


def test_a_config_file_and_overrides_may_name_it(tmp_path: Path, write_toml: Any) -> None:
    path = write_toml(tmp_path / "run.toml", data_of(tmp_path, "maximize:length.words"))
    assert load_config(path).select.objective == "maximize:length.words"
    other = load_config(path, ['router.reward={ "length.words" = 1.0 }'])
    assert other.select.objective == {"length.words": 1.0}


@pytest.fixture
def write_toml() -> Any:
    import run_configs

    return run_configs.write_toml

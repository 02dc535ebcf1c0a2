"""A calibration from prompts to the artefact in use: twice, killed, and with nothing to learn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import polars as pl
import pytest

from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.verify import verify_run
from arbitrage.routers.artefact import read_card
from arbitrage.routers.promotion import earlier_artefacts

PROMPTS, CONCURRENCY = 40, 4


@pytest.fixture(name="data")
def _data(run_configs: ModuleType, tmp_path: Path) -> dict[str, Any]:
    """Two recorded teachers; beta answers in Turkish whatever it is asked in."""
    data: dict[str, Any] = run_configs.replay_data(tmp_path, per_language=6)
    data["router"] = {"kind": "learned", "artefact": str(tmp_path / "router")}
    data["calibrate"] = {
        "reward": "maximize:language_id.match",
        "rejected_reward": 0.0,
        "prompts": 40,
    }
    return data


@pytest.mark.usefixtures("prefect_server")
def test_a_calibration_puts_a_router_in_use_that_a_run_takes_and_a_second_one_may_replace(
    arbitrage: Callable[..., Any], run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    toml = run_configs.write_toml(tmp_path / "run.toml", data)
    said = arbitrage("calibrate", toml, "--run-id", "first")
    assert said.code == 0, said.err
    folder = tmp_path / "runs" / "first"
    assert said.out.splitlines()[-1] == str(folder)
    assert "Promoted: there was none in use" in said.out
    assert "40 prompts answered by all teachers, 40 asked for: 80 candidates" in said.out
    for part in ("random", "chosen"):
        assert verify_run(folder / part).problems == []
        routes = open_run(folder / part).routes.collect()
        assert routes["drawn"].list.len().to_list() == [2] * 20
        assert set(routes["propensities"].explode()) == {1.0}
    rewards = pl.read_parquet(folder / "rewards.parquet")
    assert rewards.group_by("drawn").len().sort("drawn").rows() == [("chosen", 40), ("random", 40)]
    place = Path(data["router"]["artefact"])
    card = (place / "card.md").read_text(encoding="utf-8")
    japanese = "| `ja` Japanese | `alpha` | 1 | `alpha` over `beta` by 1 [1, 1] |"
    assert f"{japanese} not separable: `alpha` and `beta` | 4 |" in card
    assert "| `ja` Japanese | `alpha` 100% |" in card
    assert "**It is in use**" in card
    assert not (folder / "pool.arrow").exists()

    # A finished one named again asks nothing and says the same.
    again = arbitrage("calibrate", toml, "--run-id", "first", "--json")
    assert orjson.loads(again.out)["promoted"] is True
    assert "finished already" in again.err

    # More prompts of the same pool, now against the artefact in use.
    more = ("--set", "calibrate.prompts=5000")
    other = arbitrage("calibrate", toml, "--run-id", "second", *more, "--json")
    assert other.code == 0, other.err
    found = orjson.loads(other.out)
    assert found["comparison"]["rival"] == "in_use"
    assert found["promoted"] is True
    assert (found["asked_for"], sum(found["prompts"].values())) == (5000, 60)
    assert read_card(place)["sha256"] == found["comparison"]["sha256"]
    (kept,) = earlier_artefacts(place)
    assert found["earlier"] == str(kept)
    assert read_card(kept)["sha256"] == found["comparison"]["in_use"]

    ran = arbitrage("run", toml, "--run-id", "by-it")
    assert ran.code == 0, ran.err
    drawn = open_run(tmp_path / "runs" / "by-it").routes.filter(pl.col("language") == "ja")
    assert set(drawn.collect()["drawn"].explode()) == {"alpha"}
    back = arbitrage("router", "rollback", place)
    assert back.code == 0
    assert read_card(place)["sha256"] == found["comparison"]["in_use"]


def test_nothing_to_compare_by_is_said_and_no_artefact_is_left(
    prefect_server: None,
    arbitrage: Callable[..., Any],
    run_configs: ModuleType,
    data: dict[str, Any],
    tmp_path: Path,
) -> None:
    """The measure abstains on every answer."""
    data["calibrate"] |= {"reward": "maximize:lexical_diversity.mtld", "random_share": 1.0}
    del data["calibrate"]["rejected_reward"]
    data["filters"] = {**data["filters"], "lexical_diversity": {"shortest_tokens": 10_000}}
    toml = run_configs.write_toml(tmp_path / "run.toml", data)
    said = arbitrage("calibrate", toml, "--run-id", "empty")
    assert said.code == 2
    assert "every reward in" in said.complaint
    assert not Path(data["router"]["artefact"]).exists()


def test_a_bad_config_is_refused_before_prefect_starts(
    arbitrage: Callable[..., Any], run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    data["teachers"] = data["teachers"][:1]
    toml = run_configs.write_toml(tmp_path / "run.toml", data)
    said = arbitrage("calibrate", toml)
    assert said.code == 2
    assert "there is one teacher, alpha" in said.complaint
    assert "loading Prefect" not in said.err
    assert not (tmp_path / "runs").exists()


def test_after_kill_9_the_same_command_asks_only_what_was_not_answered(
    run_configs: ModuleType, stand_in: ModuleType, api_url: str, tmp_path: Path
) -> None:
    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.4)) as server:
        data = run_configs.served_data(tmp_path, server.base_url, prompts=PROMPTS)
        first = data["teachers"][0]
        data["teachers"] = [first, {**first, "name": "other"}]
        data["router"] = {"kind": "uniform"}
        place = tmp_path / "router"
        data["calibrate"] = {"prompts": PROMPTS, "artefact": str(place)}
        toml = run_configs.write_toml(tmp_path / "run.toml", data)
        output = tmp_path / "runs"
        arguments = ["calibrate", toml]
        env = run_configs.environment(api_url)
        killed = run_configs.start(arguments, tmp_path, env)
        journals = f"*/random/{layout.WORK}/journal/*/*.frames"
        run_configs.wait_until(
            lambda: any(file.stat().st_size for file in output.glob(journals)), killed
        )
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        server.behaviour.latency_s = 0.0
        code, out, err = run_configs.finish(run_configs.start(arguments, tmp_path, env))
        assert code == 0, err
        assert "continuing the unfinished calibration" in err
        (folder,) = output.iterdir()
        assert out.splitlines()[-1] == str(folder)
        asked = 2 * PROMPTS
        assert pl.read_parquet(folder / "rewards.parquet").height == asked
        # Both teachers' requests in flight at the kill, and one commit group of each.
        assert asked <= server.stats.requests <= asked + 2 * 2 * CONCURRENCY
        assert (place / "card.json").exists()


@pytest.mark.usefixtures("prefect_server")
def test_a_language_the_router_never_met_is_in_the_output_the_manifest_and_the_report(
    arbitrage: Callable[..., Any], run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    from arbitrage.routers.fit import fit_artefact
    from arbitrage.routers.reward_log import reward_log_of

    rows = [
        {"prompt_id": f"{tag}{n}", "language": tag, "prompt": "x", "teacher": name, "reward": n % 2}
        for tag in ("tr", "ko")
        for n in range(9)
        for name in ("alpha", "beta")
    ]
    log = reward_log_of(pl.DataFrame(rows).to_arrow(), "log")
    fit_artefact(log, Path(data["router"]["artefact"]), kind="learned", metrics={})
    toml = run_configs.write_toml(tmp_path / "run.toml", data)
    said = arbitrage("run", toml, "--run-id", "met")
    assert said.code == 0, said.err
    sentence = "th: the router has no rewards in it; 6 prompts went by the estimate over all"
    assert f"unknown language {sentence}" in said.out
    path = tmp_path / "runs" / "met"
    found = open_run(path).manifest["unknown_languages"]
    assert [row["language"] for row in found] == ["ar", "en", "hi", "ja", "ru", "th", "vi", "zh"]
    assert sentence in (path / "report.html").read_text(encoding="utf-8")
    again = arbitrage("decide", path, "--run-id", "again", "--set", "filters.length.min_words=1")
    assert again.code == 0, again.err
    assert open_run(tmp_path / "runs" / "again").manifest["unknown_languages"] == found

"""A router that learns from earlier shards: the same routes in any order of events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError, DamagedRunError, RouterError
from arbitrage.infra.interrupt import stop
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.infra.store.run import Run
from arbitrage.tasks.generate import generate_candidates, open_teachers
from arbitrage.tasks.learning import check_learning, learned_before, lessons_of, shards_at_once
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.route import route_prompts
from arbitrage.tasks.score import score_candidates

BANDIT = {"kind": "bandit", "reward": "maximize:language_id.match", "lag": 2, "explore": 0.1}


@pytest.fixture(scope="module")
def data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = run_configs.replay_data(tmp_path_factory.mktemp("bandit"), samples=2, per_language=12)
    return dict(run_configs.changed(made, {"router": BANDIT, "run.shard_size": 12}))


def config_of(
    run_configs: ModuleType, data: dict[str, Any], folder: Path, **more: Any
) -> RunConfig:
    config: RunConfig = run_configs.parsed(data, run__output=str(folder), **more)
    return config


class Worked:
    """A run taken shard by shard, in whatever order."""

    def __init__(self, config: RunConfig, name: str = "run") -> None:
        stop.clear()
        self.opened = open_run_folder(config, name)
        self.uri = str(self.opened.path)
        self.shards = load_prompts.fn(self.uri)

    @property
    def run(self) -> Run:
        return self.opened.run

    def finish(self, shard: int) -> None:
        generate_candidates(self.uri, shard)
        score_candidates(self.uri, shard)

    def whole(self) -> None:
        for shard in range(self.shards):
            route_prompts(self.uri, shard)
            self.finish(shard)

    def routes(self) -> list[Any]:
        return [self.run.routes(shard).to_pylist() for shard in range(self.shards)]


@pytest.fixture
def worked() -> Iterator[Any]:
    open_ones: list[Worked] = []

    def make(config: RunConfig, name: str = "run") -> Worked:
        made = Worked(config, name)
        made.opened.run  # noqa: B018  attached before any task is
        open_ones.append(made)
        return made

    yield make
    for one in open_ones:
        with closing(one.opened), open_teachers(one.uri):
            pass


def test_routes_do_not_depend_on_which_shard_finished_first(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, worked: Any
) -> None:
    first, second = (worked(config_of(run_configs, data, tmp_path / n)) for n in "ab")
    first.whole()
    # Two at a time, the later of each pair finishing first.
    for shard in range(0, second.shards, 2):
        pair = [one for one in (shard, shard + 1) if one < second.shards]
        for one in pair:
            route_prompts(second.uri, one)
        for one in reversed(pair):
            second.finish(one)
    assert first.routes() == second.routes()


def test_it_learns_who_answers_in_the_language_and_goes_on_exploring(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, worked: Any
) -> None:
    one = worked(config_of(run_configs, data, tmp_path))
    one.whole()
    routes = one.routes()
    assert {tuple(row["probabilities"]) for row in routes[0] + routes[1]} == {(0.5, 0.5)}
    last = [row for row in routes[-1] if row["language"] != "tr"]
    shares = np.array([row["probabilities"] for row in last])  # alpha answers in the language
    assert (shares[:, 0] > 0.8).all()
    assert (shares[:, 1] >= 0.05 - 1e-6).all()
    for row in last:
        drawn = row["teachers"].index(row["drawn"][0])
        assert row["propensities"][0] == row["probabilities"][drawn]


def test_states_are_made_again_from_the_shards_and_only_recent_ones_are_kept(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, worked: Any
) -> None:
    one = worked(config_of(run_configs, data, tmp_path))
    one.whole()
    last = one.shards - 1
    kept = one.run.folder.names(layout.LEARNED)
    assert 1 <= len(kept) <= 2 * 2 + 1
    before = learned_before(one.run, last)
    one.run.folder.remove(layout.LEARNED)
    after = learned_before(one.run, last)
    assert before is not None
    assert after is not None
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    (one.run.folder / layout.staged("learned", last - 2, "npz")).write_bytes(b"half a file")
    with pytest.raises(RouterError, match=r"damaged.*Delete it"):
        learned_before(one.run, last)


def test_a_shard_whose_turn_has_not_come_is_refused(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, worked: Any
) -> None:
    one = worked(config_of(run_configs, data, tmp_path))
    for shard in (0, 1):
        route_prompts(one.uri, shard)
    with pytest.raises(DamagedRunError, match="shard 0 is not scored"):
        route_prompts(one.uri, 2)


def test_answers_without_a_reward_teach_nothing_unless_told_otherwise(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, worked: Any
) -> None:
    silent = run_configs.changed(data, {"router.reward": "maximize:lexical_diversity.mtld"})
    silent = run_configs.changed(silent, {"filters.lexical_diversity.shortest_tokens": 5000})
    one = worked(config_of(run_configs, silent, tmp_path / "a"))
    one.whole()
    assert len(lessons_of(one.run, 0).reward) == 0
    assert {tuple(row["probabilities"]) for row in one.routes()[-1]} == {(0.5, 0.5)}
    counted = run_configs.changed(silent, {"router.null_reward": 1.0})
    counted["router"]["reward"] = "minimize:lexical_diversity.mtld"
    other = worked(config_of(run_configs, counted, tmp_path / "b"))
    other.whole()
    assert lessons_of(other.run, 0).reward.tolist() == [-1.0] * 12


def test_no_more_shards_are_worked_on_than_the_lag_allows(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    assert shards_at_once(config_of(run_configs, data, tmp_path, run__workers=8)) == 2
    assert shards_at_once(config_of(run_configs, data, tmp_path, run__workers=1)) == 1
    plain = config_of(run_configs, data, tmp_path, run__workers=8, router={"kind": "uniform"})
    assert shards_at_once(plain) == 8


def test_rewards_that_come_too_late_or_are_not_measured_are_refused(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"language_id\.mach.*is not a measure"):
        config_of(run_configs, data, tmp_path, router__reward="maximize:language_id.mach")
    with pytest.raises(ValueError, match="is not an objective"):
        config_of(run_configs, data, tmp_path, router__reward="language_id.match")
    late = run_configs.changed(data, {"filters.near_duplicate": {}})
    late["router"]["reward"] = "minimize:near_duplicate.similarity"
    with pytest.raises(ConfigError, match="known only once the whole run is"):
        check_learning(config_of(run_configs, late, tmp_path))

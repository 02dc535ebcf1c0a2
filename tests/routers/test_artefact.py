"""Artefacts: what is saved is what is loaded, and nothing else is taken for it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from reward_logs import topical

from arbitrage.config import parse_config
from arbitrage.errors import ConfigError, RouterError, UnknownNameError
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.drawing import route
from arbitrage.routers.fit import KINDS, VERSIONS, FixedModel, fit_artefact
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.learned import Learned, LearnedParams
from arbitrage.routers.pooling import PooledMeans
from arbitrage.routers.reward_log import reward_log_of

pytestmark = pytest.mark.usefixtures("pool_registered")

POOL = ["both", "sums", "tales"]
BATCH = PromptBatch(
    ["p", "q", "r"],
    ["Write a number about lamp in Turkish.", "Write a story about green river.", ""],
    ["tr", "ko", "fi"],
    [None] * 3,
)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefacts")
    log = reward_log_of(topical(120), "log.parquet")
    for kind in KINDS:
        fit_artefact(log, folder / kind, kind=kind)
    return folder


@pytest.fixture(name="copied")
def _copied(folder: Path, tmp_path: Path) -> Path:
    for name in ("card.json", "router.npz"):
        (tmp_path / name).write_bytes((folder / "learned" / name).read_bytes())
    return tmp_path


def card_of(folder: Path) -> dict[str, Any]:
    return orjson.loads((folder / "card.json").read_bytes())


def learned(folder: Path, teachers: list[str] | None = None, **params: Any) -> Learned:
    return Learned(LearnedParams(artefact=str(folder), **params), teachers or POOL)


def test_a_loaded_router_routes_as_the_fitted_model_would(folder: Path) -> None:
    model = fit_learned(reward_log_of(topical(120), "log.parquet"))
    router = learned(folder / "learned")
    np.testing.assert_array_equal(router.model.expected(BATCH), model.expected(BATCH))
    names = [POOL[column] for column in router.probabilities(BATCH).argmax(axis=1)]
    assert names[:2] == ["sums", "tales"]


def test_the_same_log_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    fit_artefact(reward_log_of(topical(120), "other name"), tmp_path, kind="cluster")
    again, first = card_of(tmp_path), card_of(folder / "cluster")
    assert again["sha256"] == first["sha256"]
    assert again["training"] == first["training"]


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"fixed"}))
def test_every_kind_routes_a_run_from_its_artefact(
    folder: Path, kind: str, config_of: Any, prompts_of: Any
) -> None:
    config = config_of({"kind": kind, "artefact": str(folder / kind)}, POOL)
    routed = route(prompts_of(["tr", "ko", "fi", "zh-Hant"]), config)
    assert routed.routes.num_rows == 4
    assert set(routed.routes["router"].to_pylist()) == {f"{kind}@{VERSIONS.get(kind, 1)}"}
    assert config.router.params.artefact_sha256 == card_of(folder / kind)["sha256"]


def test_a_fitted_table_is_the_section_of_a_run(
    folder: Path, config_of: Any, prompts_of: Any
) -> None:
    section = tomllib.loads((folder / "fixed" / "router.toml").read_text(encoding="utf-8"))
    assert set(section["router"]["table"]) == {"ko", "tr"}
    routed = route(prompts_of(["tr", "ko", "fi"]), config_of(section["router"], POOL))
    means = PooledMeans.of(["tr", "ko"], np.eye(3)[:2])
    assert routed.routes.num_rows == 3
    assert FixedModel(("x", 'y"z', "w"), means).table().count('"y\\"z"') == 1


def test_where_prices_are_known_the_table_of_fixed_takes_the_cheaper_of_a_tie(
    tmp_path: Path,
) -> None:
    log = reward_log_of(topical(120), "log.parquet")
    dear = dict.fromkeys(POOL, 1.0)
    leader = fit_artefact(log, tmp_path / "dear", kind="fixed", costs=dear)["ranking"][0]
    level = [line["teacher"] for line in leader["teachers"] if not line["separable"]]
    assert len(level) > 1
    card = fit_artefact(log, tmp_path / "cheap", kind="fixed", costs={**dear, level[-1]: 0.1})
    section = tomllib.loads((tmp_path / "cheap" / "router.toml").read_text(encoding="utf-8"))
    assert section["router"]["default"] == card["ranking"][0]["choice"] == level[-1]
    for tag, teacher in section["router"]["table"].items():
        assert card["routes"][tag] == {teacher: 1.0}


def test_a_card_says_what_a_language_lead_asks(folder: Path) -> None:
    card = card_of(folder / "learned")
    assert card["training"]["languages"] == {"ko": 60, "tr": 60}
    assert card["training"]["rewards"] == 360
    assert {"digest", "notes", "prompts"} <= set(card["training"])
    assert set(card["metrics"]["routers"]) == {"best_single", "fixed", "learned", "oracle"}
    assert card["metrics"]["routers"]["learned"]["vs_fixed"]["ci95"][0] > 0
    turkish = next(ranking for ranking in card["ranking"] if ranking["language"] == "tr")
    assert turkish["says"]
    assert set(card["routes"]) == {"ko", "tr"}
    assert set(card["routes"]["tr"]) == {"sums", "tales"}
    assert sum(card["routes"]["tr"].values()) == pytest.approx(1)
    assert {"mean", "ci95", "behind", "behind_ci95", "separable"} <= set(turkish["teachers"][0])


def test_probabilities_draw_explore_and_pay(folder: Path) -> None:
    place = folder / "learned"
    drawn = learned(place, choose="draw").probabilities(BATCH)
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-5)
    best = learned(place).probabilities(BATCH)
    assert drawn.argmax(axis=1).tolist() == best.argmax(axis=1).tolist()
    assert (drawn != best).any()
    explored = learned(place, explore=0.3).probabilities(BATCH)
    assert explored.min() == pytest.approx(0.1)
    dear = learned(place, costs={"sums": 10.0, "tales": 10.0}, cost_weight=1.0)
    assert dear.probabilities(BATCH)[:, POOL.index("both")].tolist() == [1, 1, 1]


def test_a_language_without_rewards_is_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    router = learned(folder / "learned")
    for _ in range(2):
        router.probabilities(BATCH)
    said = [record.getMessage() for record in caplog.records if "no rewards in" in record.message]
    assert len(said) == 1
    assert '"fi"' in said[0]
    assert "pooled over all languages" in said[0]


def test_a_smaller_pool_in_another_order_is_served(folder: Path) -> None:
    whole = learned(folder / "learned").model.expected(BATCH)
    router = learned(folder / "learned", ["tales", "both"])
    wanted = whole[:, [POOL.index("tales"), POOL.index("both")]].argmax(axis=1)
    assert router.probabilities(BATCH).argmax(axis=1).tolist() == wanted.tolist()


def test_a_foreign_pool_is_refused_by_name(folder: Path) -> None:
    with pytest.raises(RouterError, match=r"another pool: it does not know aya-9b.*both, sums"):
        learned(folder / "learned", ["sums", "aya-9b"])


@pytest.mark.parametrize("name", ["card.json", "router.npz"])
def test_a_cut_or_missing_file_is_named(copied: Path, name: str) -> None:
    whole = (copied / name).read_bytes()
    (copied / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RouterError, match=f"damaged: {name}"):
        learned(copied)
    (copied / name).unlink()
    with pytest.raises(RouterError, match=name):
        learned(copied)


def test_any_flipped_byte_of_the_arrays_is_found(copied: Path) -> None:
    data = bytearray((copied / "router.npz").read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (copied / "router.npz").write_bytes(bytes(flipped))
        with pytest.raises(RouterError, match="not the file its card was written for"):
            learned(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "has format 0, needed is 1"),
        ({"version": 3}, "has version 3, needed is 4"),
        ({"kind": "nearest"}, "has kind 'nearest', needed is 'learned'"),
        ({"features": "words@0"}, "has features 'words@0'"),
        ({"settings": {}}, "does not hold what its card says"),
        ({"teachers": "sums"}, "damaged"),
    ],
)
def test_an_older_or_other_artefact_is_refused(
    copied: Path, change: dict[str, Any], message: str
) -> None:
    (copied / "card.json").write_bytes(orjson.dumps(card_of(copied) | change))
    with pytest.raises(RouterError, match=message):
        learned(copied)


def test_an_artefact_that_changed_since_the_run_was_configured_is_refused(copied: Path) -> None:
    params = LearnedParams(artefact=str(copied))
    fit_artefact(reward_log_of(topical(60, seed=5), "log"), copied, kind="learned")
    with pytest.raises(RouterError, match="has changed since"):
        Learned(params, POOL)


def test_a_run_without_an_artefact_is_told_how_to_get_one(
    config_of: Any, prompts_of: Any, tmp_path: Path
) -> None:
    config = config_of({"kind": "learned", "artefact": str(tmp_path / "none")}, POOL)
    with pytest.raises(RouterError, match=r"no router artefact at .* `arbitrage router fit -o`"):
        route(prompts_of(["tr"]), config)
    with pytest.raises(ConfigError, match="artefact"):
        config_of({"kind": "learned"}, POOL)


def test_costs_of_a_teacher_that_is_not_in_the_run_are_a_mistake(
    folder: Path, config_of: Any
) -> None:
    router = {"kind": "learned", "artefact": str(folder / "learned"), "costs": {"summs": 1.0}}
    with pytest.raises(ConfigError, match='"summs" is not a teacher of this run'):
        config_of(router, POOL)


def test_a_resolved_config_reads_back_as_itself(folder: Path, config_of: Any) -> None:
    config = config_of({"kind": "learned", "artefact": str(folder / "learned")}, POOL)
    assert parse_config(config.resolved()).identity == config.identity


def test_a_kind_that_is_not_fitted_is_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match='Did you mean "learned"'):
        fit_artefact(reward_log_of(topical(9), "log"), tmp_path, kind="learnt")

"""Where a reward may decide: the floor, what stands in, and which audit speaks of which reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audits import write_audit
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config import RunConfig, parse_config
from arbitrage.errors import ConfigError
from arbitrage.filters.moments import Moments
from arbitrage.filters.trust import Trust, check_audit, may_teach, reward_uses, trusted_values
from arbitrage.filters.values import objective_values

WORDS, SPELLING = "maximize:length.words", "maximize:length.characters"
FILTERS: dict[str, dict[str, Any]] = {"length": {"min_words": 1}, "language_id": {}}
LANGUAGES = ("ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en")


def config_of(
    folder: Path, found: dict[str, dict[str, float | None]] | None, **rewards: Any
) -> RunConfig:
    if found is not None:
        rewards["audit"] = write_audit(folder / "audit.json", FILTERS, found)
    return parse_config(
        {
            "prompts": {"source": "prompts.parquet"},
            "teachers": [{"name": "a", "backend": "openai", "base_url": "http://a/v1"}],
            "filters": FILTERS,
            "select": {"objective": WORDS},
            "views": {"preference": {}},
            **({"rewards": rewards} if rewards else {}),
        }
    )


def scored(tags: list[str]) -> pa.Table:
    size = len(tags)
    return pa.table(
        {
            "language": tags,
            "length.words": pa.array(range(1, size + 1), pa.float32()),
            "length.characters": pa.array(range(100, 100 + size), pa.float32()),
            "language_id.match": pa.array([at % 2 for at in range(size)], pa.float32()),
        }
    )


def test_without_an_audit_every_reward_decides_everywhere(tmp_path: Path) -> None:
    config, table = config_of(tmp_path, None), scored(["tr", "ar", "th"])
    values = trusted_values(table, config, WORDS)
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert Trust(config).ruling(WORDS, "ar").standing == "no_audit"


def test_it_is_the_lower_end_of_the_interval_that_must_reach_the_floor(tmp_path: Path) -> None:
    trust = Trust(config_of(tmp_path, {WORDS: {"tr": 0.6, "ar": 0.599, "th": None}}))
    standings = {tag: trust.ruling(WORDS, tag).standing for tag in ("tr", "ar", "th", "zh-Hant")}
    assert standings == {
        "tr": "passes",
        "ar": "below_floor",
        "th": "not_audited",
        "zh-Hant": "not_audited",
    }


def test_below_the_floor_another_reward_then_the_language_then_nothing_stands_in(
    tmp_path: Path,
) -> None:
    found = {WORDS: {"tr": 0.9, "ar": 0.3, "th": 0.3}, SPELLING: {"ar": 0.7, "th": 0.2}}
    table = scored(["tr", "ar", "th", "th", "ja"])
    config = config_of(tmp_path, found, instead=[SPELLING])
    assert trusted_values(table, config, WORDS).tolist() == [1.0, 101.0, 0.0, 1.0, 0.0]
    config = config_of(tmp_path, found, instead=[SPELLING], otherwise="nothing")
    values = trusted_values(table, config, WORDS)
    assert values[:2].tolist() == [1.0, 101.0]
    assert np.isnan(values[2:]).all()


def test_where_numbers_count_nothing_stands_in(tmp_path: Path) -> None:
    config = config_of(tmp_path, {WORDS: {"tr": 0.9}, SPELLING: {"ar": 0.9}}, instead=[SPELLING])
    values = trusted_values(scored(["tr", "ar"]), config, WORDS, alone=True)
    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_a_router_learns_only_where_the_reward_itself_passes(tmp_path: Path) -> None:
    config = config_of(tmp_path, {WORDS: {"tr": 0.9}, SPELLING: {"ar": 0.9}}, instead=[SPELLING])
    assert may_teach(scored(["tr", "ar", "ja"]), config, WORDS).tolist() == [True, False, False]


def test_a_language_without_an_audit_may_be_taken_on_trust(tmp_path: Path) -> None:
    config = config_of(tmp_path, {WORDS: {"tr": 0.9, "ar": 0.1}}, unaudited="trust")
    standings = [Trust(config).ruling(WORDS, tag).standing for tag in ("tr", "ar", "ko")]
    assert standings == ["passes", "below_floor", "taken_on_trust"]


def test_the_language_itself_needs_no_audit(tmp_path: Path) -> None:
    config = config_of(tmp_path, {WORDS: {"tr": 0.9}})
    ruling = Trust(config).ruling("maximize:language_id.match", "ar")
    assert (ruling.standing, ruling.used) == ("needs_none", "maximize:language_id.match")


def test_an_audit_of_other_params_does_not_vouch_for_this_reward(tmp_path: Path) -> None:
    path = write_audit(tmp_path / "audit.json", FILTERS, {"maximize:language_id.probability": {}})
    data: dict[str, Any] = {
        "prompts": {"source": "prompts.parquet"},
        "teachers": [{"name": "a", "backend": "openai", "base_url": "http://a/v1"}],
        "filters": {"language_id": {"shortest_letters": 9}},
        "select": {"objective": "maximize:language_id.probability"},
        "rewards": {"audit": path},
    }
    with pytest.raises(ConfigError, match="measured by another model, version or other params"):
        check_audit(parse_config(data))
    data["filters"] = {"language_id": {"min_probability": 0.5}}  # a threshold measures nothing
    check_audit(parse_config(data))


def test_a_reward_the_audit_does_not_name_is_an_error_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"says nothing of .maximize:length.words.*audit-reward"):
        check_audit(config_of(tmp_path, {SPELLING: {"tr": 0.9}}))
    check_audit(config_of(tmp_path, {SPELLING: {"tr": 0.9}}, unaudited="trust"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"nonsense", "is not JSON"),
        (b'{"kind": "else"}', "is no reward audit"),
        (b"[]", "is no reward audit"),
        (b'{"kind": "reward-audit", "format": 1}', "is damaged"),
        (b'{"kind": "reward-audit", "format": 1, "filters": {}, "rewards": [7]}', "is damaged"),
    ],
)
def test_what_is_no_audit_is_said_when_the_config_is_read(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "audit.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, None, audit=str(path))


def test_a_stored_config_carries_its_audit_and_another_path_is_read(tmp_path: Path) -> None:
    config = config_of(tmp_path, {WORDS: {"tr": 0.9}})
    stored = config.resolved()
    (tmp_path / "audit.json").unlink()
    again = parse_config(stored)
    assert again.identity == config.identity
    assert Trust(again).ruling(WORDS, "tr").standing == "passes"
    other = write_audit(tmp_path / "other.json", FILTERS, {WORDS: {"tr": 0.1}})
    newer = parse_config(stored, [f'rewards.audit="{other}"'])
    assert Trust(newer).ruling(WORDS, "tr").standing == "below_floor"


@pytest.mark.parametrize("key", [{"floor": 0.5}, {"unaudited": "trust"}, {"instead": [SPELLING]}])
def test_a_floor_without_an_audit_is_an_error_and_not_silent(
    tmp_path: Path, key: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="does nothing without an audit"):
        config_of(tmp_path, None, **key)


def test_of_two_audits_of_a_language_both_must_pass(tmp_path: Path) -> None:
    paths = [
        write_audit(tmp_path / f"{low}.json", FILTERS, {WORDS: {"tr": low}}) for low in (0.9, 0.4)
    ]
    config = config_of(tmp_path, None, audit=paths)
    ruling = Trust(config).ruling(WORDS, "tr")
    assert (ruling.standing, ruling.audited and ruling.audited.low) == ("below_floor", 0.4)


def test_every_place_where_a_reward_decides_is_found(tmp_path: Path) -> None:
    data = config_of(tmp_path, None).resolved()
    data["views"] = {"sft": {}, "kto": {"reward": SPELLING}, "preference": {}}
    data["router"] = {"kind": "reward", "reward": WORDS}
    assert reward_uses(parse_config(data)) == {
        "router.reward": WORDS,
        "views.kto": SPELLING,
        "views.preference": WORDS,
    }


@given(
    lows=st.dictionaries(st.sampled_from(LANGUAGES), st.floats(0, 1), min_size=1),
    floor=st.floats(0, 0.99),
    tags=st.lists(st.sampled_from(LANGUAGES), min_size=1, max_size=20),
)
def test_each_row_has_the_value_of_what_its_language_is_ruled_by(
    tmp_path_factory: pytest.TempPathFactory, lows: dict[str, float], floor: float, tags: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    config = config_of(folder, {WORDS: dict(lows)}, floor=floor, otherwise="nothing")
    table = scored(tags)
    values = trusted_values(table, config, WORDS)
    for row, tag in enumerate(tags):
        if lows.get(tag, -1.0) >= floor:
            assert values[row] == row + 1
        else:
            assert np.isnan(values[row])


def test_weights_are_z_scores_within_each_of_several_languages() -> None:
    """By hand, in languages whose scores lie far apart and one where a measure has no score."""
    rows = {
        "ja": [(1.0, 10.0), (3.0, 30.0)],
        "th": [(100.0, 5.0), (300.0, 5.0)],
        "tr": [(2.0, None), (4.0, None)],
        "ar": [(7.0, 1.0), (7.0, None)],
    }
    table = pa.table(
        {
            "language": [tag for tag, pairs in rows.items() for _ in pairs],
            "a.x": pa.array([one for pairs in rows.values() for one, _ in pairs], pa.float32()),
            "b.y": pa.array([two for pairs in rows.values() for _, two in pairs], pa.float32()),
        }
    )
    weights = {"a.x": 0.75, "b.y": -0.25}
    values = objective_values(table, weights, Moments.of(table, weights))
    # z is -1 and +1 of two scores, 0 where both are equal; tr has no b.y, so it is of a.x alone.
    np.testing.assert_allclose(values[:6], [-0.5, 0.5, -0.75, 0.75, -0.75, 0.75])
    # ar: a.x is equal, b.y of its only score is 0, and the row without one has no value at all.
    assert values[6] == 0
    assert np.isnan(values[7])

"""Configs: what is wrong is said with its place, the nearest match and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config import RunConfig, load_config, parse_config
from arbitrage.errors import ConfigError

BASE: dict[str, Any] = {
    "prompts": {"source": "prompts.parquet"},
    "teachers": [
        {"name": "a", "backend": "replay", "recordings": "r.parquet"},
        {"name": "b", "backend": "replay", "recordings": "r.parquet"},
    ],
    "filters": {"length": {"min_words": 3}, "lexical_diversity": {}},
}


def with_changes(**sections: Any) -> dict[str, Any]:
    return {**BASE, **sections}


def test_defaults_fill_a_minimal_config() -> None:
    config = parse_config({key: BASE[key] for key in ("prompts", "teachers")})
    assert (config.run.samples, config.router.kind, list(config.views)) == (1, "uniform", ["sft"])


def test_a_resolved_config_parses_to_the_same_run() -> None:
    config = parse_config(BASE)
    again = RunConfig.model_validate(config.resolved())
    assert again.identity == config.identity
    assert again.resolved() == config.resolved()


@pytest.mark.parametrize(
    ("changes", "place", "hint"),
    [
        ({"run": {"sample": 2}}, "run.sample", 'Did you mean "samples"?'),
        ({"selekt": {}}, "selekt", 'Did you mean "select"?'),
        ({"filters": {"toxicty": {}}}, "filters.toxicty", 'Did you mean "toxicity"?'),
        (
            {"filters": {"length": {"min_word": 3}}},
            "filters.length.min_word",
            'Did you mean "min_words"?',
        ),
        ({"views": {"stf": {}}}, "views.stf", 'Did you mean "sft"?'),
        ({"router": {"kind": "unifrom"}}, "router.kind", 'Did you mean "uniform"?'),
        ({"router": {"kind": "single", "teacher": "c"}}, "router", '"c" is not a teacher'),
        ({"router": {"kind": "uniform", "fallback": "aa"}}, "router", '"aa" is not a teacher'),
        ({"router": {"teachers_per_prompt": 3}}, "router.teachers_per_prompt", "the pool has 2"),
        ({"run": {"samples": 0}}, "run.samples", "greater than or equal to 1"),
        ({"run": {"name": "../x"}}, "run.name", "pattern"),
        ({"prompts": {"source": "x", "text": "prompt"}}, "prompts.text", '"column:NAME"'),
        ({"prompts": {"source": "x", "language": "klingonish"}}, "prompts.language", "BCP-47"),
        ({"prompts": {}}, "prompts.source", "required and missing"),
        ({"teachers": []}, "teachers", "at least 1"),
        ({"teachers": [BASE["teachers"][0]] * 2}, "teachers.1.name", 'two teachers are called "a"'),
        ({"teachers": [{"name": "a", "backend": "repaly"}]}, "teachers.0.backend", '"replay"'),
        (
            {"teachers": [{"name": "a", "backend": "replay", "recording": "r"}]},
            "teachers.0.recording",
            'Did you mean "recordings"?',
        ),
        (
            {"teachers": [{**BASE["teachers"][0], "sampling": {"temprature": 1}}]},
            "teachers.0.sampling.temprature",
            'Did you mean "temperature"?',
        ),
        (
            {"select": {"objective": "maximize:lexical_diversity.mltd"}},
            "select.objective",
            'Did you mean "lexical_diversity.mtld"?',
        ),
        (
            {"select": {"objective": "most:length.words"}},
            "select.objective",
            "maximize:FILTER.MEASURE",
        ),
        (
            {"select": {"constraints": {"toxicity.toxicity": {"max": 1}}}},
            "select.constraints",
            "[filters]",
        ),
        ({"views": {"preference": {}}}, "views.preference", "select.objective"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_mend(
    changes: dict[str, Any], place: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_changes(**changes))
    message = str(caught.value)
    assert f"{place}: " in message or f"{place}." in message
    assert hint in message
    assert "Traceback" not in message


def test_every_mistake_is_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_changes(run={"sample": 2, "seeed": 1}))
    assert "2 mistakes" in str(caught.value)


def test_set_overrides_by_dotted_key_list_index_and_name() -> None:
    config = parse_config(
        BASE,
        [
            "run.samples=4",
            "run.name=nightly",
            "teachers.b.max_concurrency=3",
            "filters.length.min_words=7",
        ],
    )
    assert (config.run.samples, config.run.name) == (4, "nightly")
    assert [t.max_concurrency for t in config.teachers if t.name == "b"] == [3]
    assert config.filter_params["length"].thresholds() == {"min_words": 7.0}


@pytest.mark.parametrize("override", ["run.samples", "=3", "teachers.zz.model=x"])
def test_a_bad_override_is_a_config_error(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_config(BASE, [override])


def test_operational_keys_leave_the_identity_alone_and_others_do_not() -> None:
    base = parse_config(BASE).identity
    assert parse_config(BASE, ["run.workers=9", "teachers.a.max_concurrency=1"]).identity == base
    for change in ("run.seed=1", "filters.length.min_words=4", "teachers.a.precision=int4"):
        assert parse_config(BASE, [change]).identity != base


def test_a_missing_config_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="arbitrage init"):
        load_config(tmp_path / "none.toml")


def test_toml_that_does_not_parse_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[run]\nname = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        load_config(path)


def test_a_config_with_a_bom_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        '\ufeff[prompts]\nsource="x"\n[[teachers]]\nname="a"\nbackend="replay"\nrecordings="r"\n'
    )
    assert load_config(path).prompts.source == "x"


def test_the_config_schema_makes_a_form() -> None:
    schema = RunConfig.model_json_schema()
    assert {"run", "prompts", "teachers", "router", "filters", "select", "views"} <= set(
        schema["properties"]
    )

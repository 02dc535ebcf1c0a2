"""Who chooses, who evaluates, and what is refused or said where they are of one family."""

from __future__ import annotations

from typing import Any

import pytest

from arbitrage.config import RunConfig, parse_config
from arbitrage.errors import ConfigError
from arbitrage.families import families_of
from arbitrage.filters.base import measuring_hash
from arbitrage.filters.independence import cast_of, check_families, family_flags
from arbitrage.filters.reward_model import RewardModelParams

URL = "http://127.0.0.1:9/v1"


def config_of(
    judge: dict[str, Any], *, objective: str = "maximize:reward_model.score", **rewards: Any
) -> RunConfig:
    return parse_config(
        {
            "prompts": {"source": "prompts.parquet"},
            "teachers": [
                {"name": "one", "backend": "openai", "model": "google/gemma-3-4b-it"},
                {"name": "two", "backend": "openai", "model": "ours", "family": "llama"},
            ],
            "filters": {
                "length": {},
                "reward_model": {"base_url": URL, "model": "Skywork/Skywork-Reward-V2-Qwen3-8B"},
                "judge": {"base_url": URL, **judge},
            },
            "select": {"objective": objective},
            "views": {"sft": {}},
            **({"rewards": rewards} if rewards else {}),
        }
    )


def kinds(config: RunConfig) -> set[str]:
    return {flag["kind"] for flag in family_flags(config)}


def test_what_decides_chooses_and_the_other_opinions_evaluate() -> None:
    found = cast_of(config_of({"model": "gpt-9"}))
    assert [item.name for item in found.choosing] == ["filters.reward_model"]
    assert [(item.name, item.families) for item in found.evaluating] == [
        ("filters.judge", ("gpt",))
    ]
    assert [item.families for item in found.teachers] == [("google",), ("llama",)]


def test_a_judge_with_a_threshold_decides_so_it_evaluates_nothing() -> None:
    found = cast_of(config_of({"model": "qwen3-max", "min_score": 5}))
    assert {item.name for item in found.choosing} == {"filters.reward_model", "filters.judge"}
    assert found.evaluating == ()


def test_a_run_that_only_labels_chooses_nothing() -> None:
    """As `arbitrage calibrate` makes them: thresholds, and neither a reward nor a view."""
    data = config_of({"model": "qwen3-max"}).resolved()
    data["filters"]["reward_model"]["min_score"] = 0.0
    check_families(parse_config({**data, "select": {}, "views": {}}))


@pytest.mark.parametrize("judge", [{"model": "Qwen/Qwen3-235B"}, {"model": "x", "family": "QWEN"}])
def test_a_judge_of_the_choosing_reward_s_family_is_refused(judge: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"both of the family qwen.*allow_same_family"):
        check_families(config_of(judge))


def test_the_family_in_the_config_wins_over_the_name() -> None:
    check_families(config_of({"model": "qwen-like-name", "family": "gpt"}))


def test_the_same_model_is_refused_though_its_family_is_not_known() -> None:
    data = config_of({"model": "our-judge"}).resolved()
    data["filters"]["reward_model"]["model"] = "Our-Judge"
    with pytest.raises(ConfigError, match="the same model"):
        check_families(parse_config(data))


def test_a_reward_named_to_evaluate_itself_is_refused() -> None:
    judge = {"model": "gpt-9"}
    config = config_of(judge, objective="maximize:judge.score", evaluate=["judge.score"])
    with pytest.raises(ConfigError, match="it chose itself"):
        check_families(config)


def test_where_the_config_allows_it_the_report_flags_it() -> None:
    config = config_of({"model": "qwen3-max"}, allow_same_family=True)
    check_families(config)
    assert "same_family" in kinds(config)
    assert "same_family" not in kinds(config_of({"model": "gpt-9"}))


def test_a_judge_of_a_teacher_s_family_is_flagged_as_self_preference() -> None:
    config = config_of({"model": "gemini-3-pro"})
    check_families(config)
    (flag,) = [flag for flag in family_flags(config) if flag["kind"] == "self_preference"]
    assert '"one"' in flag["says"]
    assert '"two"' not in flag["says"]
    assert "self_preference" not in kinds(config_of({"model": "gpt-9"}))


def test_an_unknown_family_is_said_as_unknown() -> None:
    config = config_of({"model": "our-judge"})
    check_families(config)
    (flag,) = [flag for flag in family_flags(config) if flag["kind"] == "unknown_family"]
    assert 'filters.judge ("our-judge")' in flag["says"]


def test_a_run_whose_choice_nobody_else_looks_at_says_so() -> None:
    data = config_of({"model": "gpt-9"}).resolved()
    del data["filters"]["judge"]
    assert "nobody_evaluates" in kinds(parse_config(data))


def test_a_run_without_models_has_nothing_to_say() -> None:
    data = config_of({"model": "gpt-9"}).resolved()
    data["filters"] = {"length": {}}
    data["select"] = {"objective": "maximize:length.words"}
    assert family_flags(parse_config(data)) == []


def test_naming_a_family_measures_nothing_anew() -> None:
    plain = RewardModelParams(base_url=URL, model="m")
    assert measuring_hash(plain) == measuring_hash(plain.model_copy(update={"family": "qwen"}))
    config = config_of({"model": "gpt-9"})
    data = config.resolved()
    data["teachers"][0]["family"] = "llama"
    data["filters"]["judge"]["family"] = "claude"
    assert parse_config(data).identity == config.identity


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("gpt-4.1-mini", ("gpt",)),
        ("o3-mini", ("gpt",)),
        ("openai/gpt-oss-20b", ("gpt",)),
        ("EleutherAI/gpt-j-6b", ("eleuther",)),
        ("CohereLabs/aya-expanse-32b", ("cohere",)),
        ("command-r7b-12-2024", ("cohere",)),
        ("mistralai/Ministral-8B", ("mistral",)),
        ("microsoft/phi-4", ("phi",)),
        ("nvidia/Llama-3.1-Nemotron-70B", ("llama", "nemotron")),
        ("/models/llama/gemma-3-270m-q4.gguf", ("google",)),
        ("philosophy-7b", ()),
        ("meta-llama/", ("llama",)),
        ("", ()),
        ("日本語モデル", ()),
    ],
)
def test_a_family_is_told_by_the_words_of_a_name(name: str, families: tuple[str, ...]) -> None:
    assert families_of(name) == families

from __future__ import annotations

import pytest

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError, UnknownNameError
from arbitrage.infra.teachers.hosted import PROVIDERS, filled_in, find_provider, in_words_of
from arbitrage.infra.teachers.openai_compatible import OpenAICompatible


def _teacher(**more):
    return TeacherConfig.model_validate({"name": "t", "backend": "openai", "model": "m"} | more)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_fills_in_its_address_and_the_variable_of_its_key(name):
    config = OpenAICompatible(_teacher(provider=name)).config
    assert config.base_url == PROVIDERS[name].base_url
    assert config.base_url.startswith("https://")
    assert config.api_key_env == PROVIDERS[name].api_key_env
    assert PROVIDERS[name].source


def test_what_the_config_gives_wins_over_the_provider():
    given = {"base_url": "http://127.0.0.1:1/v1", "api_key_env": "MY_KEY"}
    config = filled_in(_teacher(provider="cohere", **given))
    assert (config.base_url, config.api_key_env) == tuple(given.values())


def test_a_provider_is_no_part_of_who_the_teacher_is():
    plain = _teacher(base_url="https://api.cohere.ai/compatibility/v1")
    assert _teacher(provider="cohere").identity == plain.identity
    assert filled_in(plain) is plain


@pytest.mark.parametrize(("name", "key"), [("openai", "top_k"), ("gemini", "frequency_penalty")])
def test_a_sampling_key_that_the_service_refuses_is_said_before_anything_is_sent(name, key):
    with pytest.raises(ConfigError, match=f'{name} takes no "{key}"'):
        OpenAICompatible(_teacher(provider=name, sampling={key: 1}))


def test_an_unknown_provider_names_the_known_ones():
    with pytest.raises(UnknownNameError, match='Did you mean "gemini"'):
        find_provider("gemni")
    with pytest.raises(ValueError, match="cohere, gemini, openai"):
        _ = _teacher(provider="gemni").params


def test_max_tokens_has_the_services_name():
    assert in_words_of(PROVIDERS["openai"], {"max_tokens": 9, "top_p": 1.0}) == {
        "max_completion_tokens": 9,
        "top_p": 1.0,
    }
    assert in_words_of(PROVIDERS["gemini"], {"max_tokens": 9}) == {"max_tokens": 9}
    assert in_words_of(None, {"max_tokens": 9}) == {"max_tokens": 9}


@pytest.mark.parametrize(("name", "most"), [("openai", None), ("gemini", 1), ("cohere", 1)])
def test_services_that_take_no_n_are_asked_sample_by_sample(name, most):
    assert OpenAICompatible(_teacher(provider=name)).samples_per_request == most


def test_a_key_that_is_not_in_the_environment_is_said(monkeypatch):
    import asyncio

    monkeypatch.delenv("COHERE_API_KEY", raising=False)
    teacher = OpenAICompatible(_teacher(provider="cohere"))
    with pytest.raises(ConfigError, match="COHERE_API_KEY"):
        asyncio.run(teacher.check())
    monkeypatch.setenv("COHERE_API_KEY", "k")
    assert "COHERE_API_KEY" in asyncio.run(teacher.check())

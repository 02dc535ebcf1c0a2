"""Hosted APIs by name: where they are and what of the OpenAI chat wire they take. Data.

From their documentation and from what users report; none of it was tried against the real service.
A preset fills in what the config leaves out, and a sampling key that the service refuses is an
error before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError, unknown_name


@dataclass(frozen=True, slots=True)
class Provider:
    """One hosted API.

    Attributes:
        base_url: its OpenAI-compatible address.
        api_key_env: the environment variable its own documentation uses for the key.
        takes_n: several samples in one request.
        takes_seed: a `seed`; elsewhere answers cannot be had again, and none is sent.
        max_tokens_key: its name for `max_tokens`.
        refuses: sampling keys it has no name for.
        lists_models: answers GET /models; elsewhere `arbitrage check` only looks for the key.
        source: where this is from.
    """

    base_url: str
    api_key_env: str
    takes_n: bool
    takes_seed: bool
    max_tokens_key: str
    refuses: frozenset[str]
    lists_models: bool
    source: str


_BEYOND_OPENAI = frozenset({"top_k", "min_p", "repetition_penalty"})

PROVIDERS = {
    "openai": Provider(
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        takes_n=True,
        takes_seed=True,
        # max_tokens is deprecated, and refused by reasoning models, which also refuse temperature.
        max_tokens_key="max_completion_tokens",
        refuses=_BEYOND_OPENAI,
        lists_models=True,
        source="platform.openai.com/docs/api-reference/chat; github.com/simonw/llm/issues/724; "
        "github.com/openai/openai-python/issues/2046",
    ),
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        api_key_env="GEMINI_API_KEY",
        takes_n=False,
        takes_seed=False,
        max_tokens_key="max_tokens",
        refuses=_BEYOND_OPENAI | {"frequency_penalty"},
        lists_models=True,
        source="ai.google.dev/gemini-api/docs/openai; unknown keys answer 400: "
        "github.com/Vali-98/ChatterUI/issues/227 (seed, frequency_penalty), "
        "github.com/MinLL/SkyrimNet-GamePlugin/issues/77 (top_k)",
    ),
    "cohere": Provider(
        base_url="https://api.cohere.ai/compatibility/v1",
        api_key_env="COHERE_API_KEY",
        takes_n=False,
        takes_seed=True,
        max_tokens_key="max_tokens",
        refuses=_BEYOND_OPENAI,
        lists_models=False,
        source="docs.cohere.com/docs/compatibility-api",
    ),
}


def find_provider(name: str) -> Provider:
    """The preset called `name`; UnknownNameError lists all."""
    if name not in PROVIDERS:
        mend = "Or leave provider out and set base_url."
        raise unknown_name("hosted provider", name, PROVIDERS, mend=mend)
    return PROVIDERS[name]


def filled_in(config: TeacherConfig) -> TeacherConfig:
    """The config of a teacher with a `provider`, with its address and key variable filled in.

    Raises ConfigError for a sampling key that the service refuses.
    """
    name = getattr(config.params, "provider", None)
    if name is None:
        return config
    provider = find_provider(name)
    for key in config.sampling.given():
        if key in provider.refuses:
            raise ConfigError(
                f'{name} takes no "{key}", which sampling of the teacher "{config.name}" sets.',
                mend="Leave it out.",
            )
    place = {
        "base_url": config.base_url or provider.base_url,
        "api_key_env": config.api_key_env or provider.api_key_env,
    }
    return config.model_copy(update=place)


def in_words_of(provider: Provider | None, sampling: dict[str, Any]) -> dict[str, Any]:
    """Sampling parameters by the names a service has for them."""
    if provider is None or "max_tokens" not in sampling:
        return sampling
    renamed = dict(sampling)
    renamed[provider.max_tokens_key] = renamed.pop("max_tokens")
    return renamed

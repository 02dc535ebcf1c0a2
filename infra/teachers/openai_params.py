"""The keys of [[teachers]] with backend "openai"."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from arbitrage.config import Sampling
from arbitrage.errors import UnknownNameError
from arbitrage.infra.teachers.base import TeacherParams
from arbitrage.infra.teachers.hosted import find_provider

_OURS = {"model", "messages", "n", "seed", "stream"}
_BODY = ("response_format", "tools", "tool_choice")

# Keys of later versions: left out where they are not given, so that no older request changes its
# identity.
_LATER = {"system", *_BODY, "provider", "seeds"}


class OpenAIParams(TeacherParams):
    """Params of `openai`.

    Attributes:
        provider: a hosted API by name ("openai", "gemini", "cohere"): its address, the variable of
            its key, and what it cannot do. base_url and api_key_env win where they are given.
        system: a system prompt for every request, before the prompt's own one.
        response_format, tools, tool_choice: sent as they are; part of the teacher's identity.
        extra_body: further keys of the request body, part of the teacher's identity.
        samples_per_request: most samples in one request (`n`); 1 for servers that ignore `n`.
        seeds: "per_request" asks samples together (`n`) with the first one's seed, from which the
            server derives the others'; "per_sample" asks each alone, with a seed of its own.
        max_response_bytes: a longer answer fails with generate.response_too_large.
        strict_model: fail with generate.wrong_model where the answer names another model. Off by
            default: many servers answer with an alias, a dated name or a path. Then it is logged.
    """

    operational: ClassVar[frozenset[str]] = frozenset(
        {"max_response_bytes", "samples_per_request", "seeds", "strict_model", "provider"}
    )

    provider: str | None = None
    system: str | None = Field(None, min_length=1)
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = Field(None, min_length=1)
    tool_choice: str | dict[str, Any] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    samples_per_request: int | None = Field(None, ge=1)
    seeds: Literal["per_request", "per_sample"] | None = None
    max_response_bytes: int = Field(16 << 20, ge=1024)
    strict_model: bool = False

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(_OURS & value.keys())
        if taken:
            raise ValueError(f'"{taken[0]}" is set by the engine and cannot be in extra_body')
        sampling = sorted(Sampling.model_fields.keys() & value.keys())
        if sampling:
            raise ValueError(f'"{sampling[0]}" belongs in sampling and cannot be in extra_body')
        own = sorted(set(_BODY) & value.keys())
        if own:
            raise ValueError(f'"{own[0]}" is a key of the teacher and cannot be in extra_body')
        return value

    @field_validator("provider")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                find_provider(value)
            except UnknownNameError as error:
                raise ValueError(str(error)) from error
        return value

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = dump(self)
        return {key: value for key, value in data.items() if value is not None or key not in _LATER}

    @property
    def most_samples(self) -> int | None:
        """Samples one request may ask for; None = as many as wanted."""
        if self.seeds == "per_sample":
            return 1
        if self.provider is not None and not find_provider(self.provider).takes_n:
            return 1
        return self.samples_per_request

    @property
    def body_keys(self) -> dict[str, Any]:
        """What goes into the request body as it is."""
        given = {key: getattr(self, key) for key in _BODY if getattr(self, key) is not None}
        return {**given, **self.extra_body}

"""The keys of [[teachers]] with backend "vllm"."""

from __future__ import annotations

import os
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.openai_params import OpenAIParams
from arbitrage.reach import Reach
from arbitrage.secrets import is_secret

_OURS = ("--host", "--port", "--model", "--served-model-name", "--api-key")


class VllmParams(OpenAIParams):
    """Params of `vllm`: those of `openai` without `provider`, and how the server is started.

    Attributes:
        command: what serves a model; may be a path into another environment. After a last word
            "serve" comes the model, after anything else `--model MODEL`.
        arguments: what changes the answers (--quantization, --dtype, --max-model-len,
            --chat-template ...); part of the teacher's identity.
        serving_arguments: what changes only memory and speed (--gpu-memory-utilization,
            --tensor-parallel-size, --enable-prefix-caching ...); free to change in mid-run.
        environment: variables for the server beside our own; "$NAME" takes the value of ours. What
            is named like a secret must be written so, since a config is stored with the run.
        port: of loopback; 0 = a free one.
        exclusive: name of a device; servers with the same one never run at the same time. A run
            asks all a teacher's prompts before it starts the next, so each model is loaded once.
        startup_timeout_s: until it lists its model; loading large weights takes minutes.
        restarts: how often a server that ended or hung is started again within a run.
        stop_grace_s: between SIGTERM and SIGKILL.
        log_folder: where NAME.log goes; default: a temporary folder, kept only after a failure.
    """

    operational: ClassVar[frozenset[str]] = OpenAIParams.operational | {
        "command",
        "serving_arguments",
        "environment",
        "port",
        "exclusive",
        "startup_timeout_s",
        "restarts",
        "stop_grace_s",
        "log_folder",
    }

    command: Annotated[list[str], Reach.COMMAND] = Field(["vllm", "serve"], min_length=1)
    arguments: Annotated[list[str], Reach.ARGUMENTS] = Field(default_factory=list)
    serving_arguments: Annotated[list[str], Reach.ARGUMENTS] = Field(default_factory=list)
    environment: Annotated[dict[str, str], Reach.ENVIRONMENT] = Field(default_factory=dict)
    port: int = Field(0, ge=0, le=65535)
    exclusive: str | None = Field(None, min_length=1)
    startup_timeout_s: float = Field(900.0, gt=0)
    restarts: int = Field(3, ge=0, le=100)
    stop_grace_s: float = Field(20.0, ge=0, le=600)
    log_folder: Annotated[str | None, Reach.WRITE] = Field(None, min_length=1)

    @field_validator("arguments", "serving_arguments")
    @classmethod
    def _name_no_address(cls, value: list[str]) -> list[str]:
        for argument in value:
            name = argument.partition("=")[0]
            if name in _OURS:
                raise ValueError(
                    f'"{name}" is set by the engine: use model, port, base_url or api_key_env'
                )
        return value

    @field_validator("environment")
    @classmethod
    def _holds_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, given in value.items():
            if is_secret(name) and not given.startswith("$"):
                raise ValueError(
                    f'"{name}" looks like a secret and a config is stored with its run: '
                    f'write {name} = "${name}" and export it'
                )
        return value

    @model_validator(mode="after")
    def _has_no_provider(self) -> VllmParams:
        if self.provider is not None:
            raise ValueError('provider is a key of backend "openai"')
        return self

    def variables(self, teacher: str, api_key_env: str | None) -> dict[str, str]:
        """The environment of the server; ConfigError where a variable it takes is not set."""
        found = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **os.environ}
        found.pop("VLLM_API_KEY", None)  # else it would ask a key that we do not send
        named = dict(self.environment)
        if api_key_env is not None:
            named["VLLM_API_KEY"] = f"${api_key_env}"
        for name, given in named.items():
            if given.startswith("$"):
                if given[1:] not in os.environ:
                    raise ConfigError(
                        f"the environment variable {given[1:]}, which the server of the teacher "
                        f'"{teacher}" takes, is not set.',
                        mend=f"Run `export {given[1:]}=...`.",
                    )
                found[name] = os.environ[given[1:]]
            else:
                found[name] = given
        return found

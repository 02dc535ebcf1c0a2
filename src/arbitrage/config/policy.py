"""What runs of a deployment may reach: written by whoever runs the worker, never by the form."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from arbitrage.config.addresses import parse_address
from arbitrage.config.places import parse_place
from arbitrage.config.plugins import Strict
from arbitrage.errors import ConfigError

VARIABLE = "ARBITRAGE_POLICY"

# Of `vllm serve`: memory, speed and numeric type; none names a file, a module or an address.
_HARMLESS = (
    "--block-size",
    "--data-parallel-size",
    "--dtype",
    "--enable-chunked-prefill",
    "--enable-prefix-caching",
    "--enforce-eager",
    "--gpu-memory-utilization",
    "--kv-cache-dtype",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--max-num-seqs",
    "--no-enable-prefix-caching",
    "--pipeline-parallel-size",
    "--quantization",
    "--seed",
    "--swap-space",
    "--tensor-parallel-size",
)


class Policy(Strict):
    """The allow-list of a worker. What is not listed is refused; an empty one allows nothing."""

    read: list[str] = Field(
        [],
        description="Files and folders (links resolved), s3://BUCKET/PREFIX and hf:ORG/NAME that "
        "may be read, with all below them. What may be written may also be read.",
    )
    write: list[str] = Field([], description="Folders and s3://BUCKET/PREFIX to write to.")
    servers: dict[str, list[str]] = Field(
        {},
        description="Address (scheme, host, port, and a path if only what is below it is meant) -> "
        "the environment variables whose values may be sent there as a key.",
    )
    models: list[str] = Field(
        [], description="Models that may be loaded on the worker: names, or files and folders."
    )
    commands: list[list[str]] = Field(
        [], description="Command lines that may be started, word for word."
    )
    arguments: list[str] = Field(
        list(_HARMLESS),
        description="What may follow them: --name with any plain value, or --name=value as it is.",
    )
    environment: list[str] = Field(
        [], description="Environment variables a started command may be given."
    )
    profiles: list[str] = Field([], description="Profiles of the AWS config files.")
    blocks: list[str] = Field([], description="Prefect Secret blocks.")

    @field_validator("read", "write")
    @classmethod
    def _are_places(cls, value: list[str]) -> list[str]:
        for item in value:
            parse_place(item)
        return value

    @field_validator("servers")
    @classmethod
    def _are_addresses(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for item in value:
            parse_address(item)
        return value


def load_policy(path: str | Path) -> Policy:
    """Read a policy from TOML; ConfigError names the file and every mistake in it."""
    mend = f"Mend it, or the variable {VARIABLE} that names it."
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        return Policy.model_validate(data)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f'the policy "{path}" cannot be read: {error}.', mend=mend) from error
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise ConfigError(f'the policy "{path}" is wrong: {said}.', mend=mend) from error


def policy_file() -> Path | None:
    """The file that the worker's environment names, if it names one."""
    named = os.environ.get(VARIABLE, "")
    return Path(named) if named else None

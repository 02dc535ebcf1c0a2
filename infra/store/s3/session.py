"""A client of an object store, with credentials from the environment, a profile or a block."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from arbitrage.config.storage import Storage
from arbitrage.errors import ConfigError
from arbitrage.infra.store.s3.failures import told

_CONNECTIONS = 16
# Quick tries inside one call; bucket.py and mirror.py have the patience for outages.
_TRIES = 4
# What a store that knows no regions signs with.
_REGION = "us-east-1"

_Pairs = tuple[tuple[str, str], ...]

# Set by flows/credentials.py: block name -> access_key_id, secret_access_key[, session_token].
read_block: Callable[[str], Mapping[str, str]] | None = None


def client_of(storage: Storage) -> Any:
    """A botocore client. Thread-safe. Raises StorageError where there are no credentials at all."""
    # Making one takes half a second; it must be another where the environment says otherwise.
    environment = [(name, value) for name, value in os.environ.items() if name.startswith("AWS_")]
    return _client(storage, _block_of(storage), tuple(sorted(environment)))


def s3fs_options(storage: Storage | None) -> dict[str, Any]:
    """What s3fs takes to reach the same store with the same keys; empty without a [run.storage]."""
    if storage is None:
        return {}
    keys = dict(_block_of(storage))
    options = {
        "endpoint_url": storage.endpoint_url,
        "profile": storage.profile,
        "client_kwargs": {"region_name": storage.region} if storage.region else None,
        "key": keys.get("access_key_id"),
        "secret": keys.get("secret_access_key"),
        "token": keys.get("session_token"),
    }
    return {name: value for name, value in options.items() if value is not None}


def _block_of(storage: Storage) -> _Pairs:
    return _read_once(storage.secret_block) if storage.secret_block else ()


@lru_cache(maxsize=8)
def _read_once(name: str) -> _Pairs:
    if read_block is None:
        raise ConfigError(
            f'run.storage.secret_block = "{name}" needs a Prefect server, and nothing reads blocks '
            "here.",
            mend="Import arbitrage.flows.credentials first.",
        )
    return tuple(sorted(read_block(name).items()))


@lru_cache(maxsize=8)
def _client(storage: Storage, block: _Pairs, _environment: _Pairs) -> Any:
    import botocore.exceptions  # noqa: PLC0415 - a quarter of a second to import
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    options = Config(
        connect_timeout=min(10.0, storage.timeout_s),
        read_timeout=storage.timeout_s,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )
    keys = dict(block)
    try:
        session = botocore.session.Session(profile=storage.profile)
        if not keys and session.get_credentials() is None:
            raise botocore.exceptions.NoCredentialsError
        return session.create_client(
            "s3",
            endpoint_url=storage.endpoint_url,
            region_name=storage.region or session.get_config_variable("region") or _REGION,
            config=options,
            aws_access_key_id=keys.get("access_key_id"),
            aws_secret_access_key=keys.get("secret_access_key"),
            aws_session_token=keys.get("session_token"),
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise told(storage.endpoint_url or "s3", error) from None

"""Keys of an object store from a block on the Prefect server (run.storage.secret_block)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from arbitrage.errors import ConfigError
from arbitrage.infra.store.s3 import session
from arbitrage.secrets import hide

_SECRET = "secret"  # noqa: S105 - the kind of block that Prefect calls so
# Kind of block -> what it calls our keys. prefect-aws needs not be installed to read them.
_KINDS = {
    _SECRET: {},
    "aws-credentials": {},
    "minio-credentials": {
        "access_key_id": "minio_root_user",
        "secret_access_key": "minio_root_password",
    },
}
_KEYS = ("access_key_id", "secret_access_key", "session_token")
_NEEDED = _KEYS[:2]


def read_block(name: str) -> Mapping[str, str]:
    """The keys in a block: "NAME" of a Secret, or "KIND/NAME".

    A Secret holds a JSON object with access_key_id, secret_access_key and, for temporary keys,
    session_token, also with "aws_" before them. Kinds: secret, aws-credentials, minio-credentials.

    Raises ConfigError where there is no such block or it holds no keys. Never tells what it holds.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 (slow)
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    kind, _, own = name.rpartition("/")
    kind = kind or _SECRET
    if kind not in _KINDS:
        raise ConfigError(
            f'run.storage.secret_block = "{name}": blocks of the kind "{kind}" are not read.',
            known=_KINDS,
            mend="Write NAME, of a Secret block, or KIND/NAME.",
        )
    try:
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(own, kind, include_secrets=True)
    except ObjectNotFound:
        raise ConfigError(
            f'run.storage.secret_block = "{name}": the Prefect server has no such block.',
            mend=f'Make one of the kind "{kind}" called "{own}", or set PREFECT_API_URL.',
        ) from None
    return _keys(name, kind, document.data)


def _keys(name: str, kind: str, data: Mapping[str, Any]) -> Mapping[str, str]:
    held: Any = data.get("value") if kind == _SECRET else data
    if isinstance(held, str):
        try:
            held = orjson.loads(held)
        except orjson.JSONDecodeError:
            held = None
    found = {}
    for key in _KEYS:
        names = (_KINDS[kind].get(key, key), f"aws_{key}")
        values = [held[n] for n in names if held.get(n)] if isinstance(held, Mapping) else []
        if values:
            found[key] = str(values[0])
            if key != "access_key_id":
                hide(f"{name} {key}", found[key])
    if missing := [key for key in _NEEDED if key not in found]:
        raise ConfigError(
            f'run.storage.secret_block = "{name}": the block holds no {" and no ".join(missing)}.',
            mend='Put {"access_key_id": ..., "secret_access_key": ...} into it as JSON.',
        )
    return found


session.read_block = read_block

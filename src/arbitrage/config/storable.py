"""A config is stored with its run and in Prefect's database: no secret belongs in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from arbitrage.config.plugins import located

# A password, and what presigned and token addresses carry.
_PASSWORD = re.compile(
    r"://[^\s/@:]*:[^\s/@]+@|"
    r"://\S*[?&](x-amz-signature|x-amz-security-token|x-goog-signature|sig|signature|token|"
    r"access_token|api_?key|password)=[^&\s]",
    re.IGNORECASE,
)
# Keys of free tables (extra_body, request ...) that hold a secret; not max_tokens, not api_key_env.
_SECRET_KEY = re.compile(
    r"(x[-_])?(api[-_]?key|authorization|proxy[-_]authorization|password|passwd|secret|"
    r"client[-_]secret|secret[-_](access[-_])?key|(access|auth|bearer|session|refresh)[-_]token)",
    re.IGNORECASE,
)
Place = tuple[str | int, ...]


def check_storable(data: dict[str, Any]) -> None:
    """Raise a validation error, which does not show the value, for the first secret in config data.

    >>> check_storable({"prompts": {"source": "https://me:hunter2@host/a.csv"}})
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for run config
    prompts.source
      an address with a password or a token in it, and a config is stored with its run...
    """
    for place, what, mend in _secrets(data, ()):
        message = (
            f"{what}, and a config is stored with its run. {mend} The value is not shown here."
        )
        raise located(message, place, None)


def _secrets(value: Any, place: Place) -> Iterator[tuple[Place, str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and _SECRET_KEY.fullmatch(key):
                yield (*place, key), f'"{key}" is a secret', "Name its variable in api_key_env."
            yield from _secrets(item, (*place, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _secrets(item, (*place, at))
    elif isinstance(value, str) and _PASSWORD.search(value):
        mend = (
            "Name the variable of a key in api_key_env; keys of stores come from the environment."
        )
        yield place, "an address with a password or a token in it", mend

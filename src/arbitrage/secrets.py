"""Secrets: read in one place, and struck out of whatever is told, logged or stored."""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator

_NAMED_LIKE_ONE = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
_NAMED_LIKE_A_PLACE = re.compile(r"(file|path|dir|sock|folder|url|endpoint)$", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_KEY_ITSELF = re.compile(r"(sk-|sk_|hf_|gsk_|xai-|pk_|AIza|AKIA)")
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)")
_SHORTEST = 6

# Variables that a config named as keys, whatever they are called, and secrets of other origin.
_named: set[str] = set()
_others: dict[str, str] = {}


def secret_from(variable: str) -> str:
    """The value of an environment variable, "" where it is not set; struck out of messages from
    now on."""
    _named.add(variable)
    return os.environ.get(variable, "").strip()


def hide(name: str, value: str) -> None:
    """Strike a secret that is in no environment variable out of messages as `[name]`."""
    _others[name] = value


def redacted(text: str) -> str:
    """The text without any secret this process knows: values of variables that are named like
    secrets or were read as keys, and passwords in addresses.

    >>> redacted("cannot open https://me:hunter2@host/a.parquet")
    'cannot open https://***@host/a.parquet'
    """
    known = {name: os.environ[name].strip() for name in _named if os.environ.get(name)}
    found = without_secrets(text, {**os.environ, **_others}, also=(*known, *_others))
    return _PASSWORD_IN_URL.sub("***", found)


def keep_out_of_logs() -> None:
    """From now on no log record of this process shows a known secret, in its traceback neither.

    For what other libraries raise and log: an error of ours holds none anyway.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def made(*given: Any, **named: Any) -> logging.LogRecord:
        return _cleaned(make(*given, **named))

    made.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(made)


def _cleaned(record: logging.LogRecord) -> logging.LogRecord:
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # wrong arguments: logging says so itself
        return record
    told = redacted(said)
    if told != said:
        record.msg, record.args = told, ()
    if record.exc_info and record.exc_info[0] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (without := redacted(trace)) != trace:
            record.exc_text = without
    return record


def without_secrets(text: str, environment: Mapping[str, str], also: Iterable[str] = ()) -> str:
    """The text with the values of variables that are named like secrets replaced by their names.

    >>> without_secrets("Bearer hf_12345678 refused", {"HF_TOKEN": "hf_12345678"})
    'Bearer [HF_TOKEN] refused'
    """
    wanted = set(also)
    values = [
        (value.strip(), name)
        for name, value in environment.items()
        if len(value.strip()) >= _SHORTEST and (name in wanted or is_secret(name))
    ]
    # The longest first: one secret may begin with another.
    for value, name in sorted(values, key=lambda item: (-len(item[0]), item[1])):
        for spelling in spellings(value):
            if spelling in text:
                text = text.replace(spelling, f"[{name}]")
    return text


def without_secret(data: bytes, secret: str) -> bytes:
    """An answer of a server without the secret it was sent, however the server spells it."""
    for spelling in spellings(secret) if len(secret) >= _SHORTEST else ():
        found = spelling.encode("utf-8", "surrogatepass")
        if found in data:
            data = data.replace(found, b"[key]")
    return data


@lru_cache(maxsize=256)
def spellings(secret: str) -> tuple[str, ...]:
    """A secret as it is, as JSON and as a URL write it.

    >>> spellings("a/b+c")
    ('a/b+c', 'a\\\\/b+c', 'a%2Fb%2Bc')
    """
    return tuple(dict.fromkeys(_spelled(secret)))


def _spelled(secret: str) -> Iterator[str]:
    yield secret
    written = json.dumps(secret)[1:-1]
    yield written
    yield written.replace("/", "\\/")
    yield quote(secret, safe="")


def is_secret(name: str) -> bool:
    """Whether a variable is named like one that holds a secret.

    >>> is_secret("HF_TOKEN"), is_secret("PREFECT_API_AUTH_STRING"), is_secret("SSH_AUTH_SOCK")
    (True, True, False)
    """
    return _NAMED_LIKE_ONE.search(name) is not None and not _NAMED_LIKE_A_PLACE.search(name)


def _names_a_variable(value: str) -> str:
    # The value is not shown: where it is no name, it may well be the key itself.
    if not _VARIABLE.fullmatch(value) or _KEY_ITSELF.match(value):
        raise ValueError(
            "this is not the name of an environment variable, and a config is stored with its run: "
            "export the key and write the variable's name here"
        )
    return value


KeyVariable = Annotated[str, AfterValidator(_names_a_variable)]
"""The name of an environment variable that holds a key; mark the key `Reach.KEY`."""

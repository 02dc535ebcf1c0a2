"""Stable keys: prompt ids, request keys and config hashes, the same on every machine and run."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import xxhash

Message = Mapping[str, str]

# An unlikely separator, so that ("ab", "c") and ("a", "bc") never share a key.
_SEPARATOR = b"\x1f"


def digest(*parts: str | bytes) -> str:
    """xxh3-128 of the parts, as 32 hexadecimal characters.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    hasher = xxhash.xxh3_128()
    for part in parts:
        hasher.update(part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass"))
        hasher.update(_SEPARATOR)
    return hasher.hexdigest()


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def hash_of(value: Any) -> str:
    """Hash of any JSON-like value.

    >>> hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    True
    """
    return digest(canonical_json(value))


def normalise_text(text: str) -> str:
    """NFC with white space folded: what counts as "the same text" for a prompt id."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def prompt_id(messages: Sequence[Message], language: str, source: str) -> str:
    """Id of a prompt that brought none: xxh3-128 of normalised text + language + source.

    >>> a = prompt_id([{"role": "user", "content": "merhaba  dünya"}], "tr", "s")
    >>> a == prompt_id([{"role": "user", "content": " merhaba dünya"}], "tr", "s"), len(a)
    (True, 32)
    """
    turns = [part for m in messages for part in (m["role"], normalise_text(m["content"]))]
    return digest(*turns, language, source)


def request_key(
    turns: Sequence[tuple[str, str]],
    teacher_identity: str,
    params_hash: str,
    sample_index: int,
    seed: int,
) -> str:
    """Key of one requested sample, asked with these (role, content) turns: what makes two requests
    the same request."""
    parts = [part for turn in turns for part in turn]
    return digest(*parts, teacher_identity, params_hash, str(sample_index), str(seed))


def candidate_id(prompt: str, key: str) -> str:
    """Id of the candidate that answers request `key` for `prompt`.

    The prompt id is in it because two prompts with ids of their own may carry the same text.
    """
    return digest(prompt, key)


def sample_seed(seed: int, prompt: str, teacher: str, sample_index: int) -> int:
    """Seed sent with one sample, in 0..2**31-1 (what every OpenAI-compatible server accepts)."""
    hexadecimal = digest(str(seed), prompt, teacher, str(sample_index))
    return int(hexadecimal[:8], 16) & 0x7FFFFFFF


def unit_interval(seed: int, *parts: str) -> float:
    """A uniform number in [0, 1) fixed by seed and parts, so draws do not depend on shard order."""
    return int(digest(str(seed), *parts)[:13], 16) / 16**13

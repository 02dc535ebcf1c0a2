"""The OpenAI chat wire: a request as JSON, and JSON as servers write it. Pure, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from arbitrage.infra.teachers.base import Request, TeacherError

_SURROGATES = re.compile("[\ud800-\udfff]")
DETAIL_CHARACTERS = 300


def sanitise(text: str) -> str:
    """Lone surrogates become U+FFFD: no UTF-8 file can hold them.

    >>> sanitise("a\\ud800b") == "a\\ufffdb"
    True
    """
    return _SURROGATES.sub("\ufffd", text) if not text.isascii() else text


def clip(text: str) -> str:
    """One bounded line of what a server said."""
    line = " ".join(sanitise(text).split())
    return line if len(line) <= DETAIL_CHARACTERS else line[: DETAIL_CHARACTERS - 3] + "..."


def chat_body(
    request: Request,
    model: str,
    keys: Mapping[str, Any],
    *,
    system: str | None = None,
    seeded: bool = True,
) -> bytes:
    """The JSON body for a request. `n` is sent only above 1: some servers refuse the key.

    Args:
        keys: sampling parameters by the server's names for them, and further keys of the body.
        system: a system prompt. It goes before the prompt's own one, in the same message: some
            chat templates refuse a second.
        seeded: send `seed`, the first sample's: servers derive those of further choices from it.
    """
    messages = [{"role": role, "content": sanitise(content)} for role, content in request.messages]
    if system is not None:
        if messages and messages[0]["role"] == "system":
            messages[0]["content"] = f"{sanitise(system)}\n\n{messages[0]['content']}"
        else:
            messages.insert(0, {"role": "system", "content": sanitise(system)})
    body: dict[str, Any] = {"model": model, "messages": messages}
    if seeded:
        body["seed"] = request.samples[0].seed
    body |= keys
    if len(request.samples) > 1:
        body["n"] = len(request.samples)
    return orjson.dumps(body)


def parse_json(body: bytes) -> Any:
    """JSON of a server, also the kind the standard forbids: NaN, lone surrogates, broken UTF-8."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        shown = clip(body[:200].decode("utf-8", "replace"))
        detail = f"not JSON ({type(error).__name__}): {shown!r}"
        raise TeacherError("generate.malformed_response", detail, transient=True) from None

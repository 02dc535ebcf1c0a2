"""One choice of a `chat.completion`: its text, what was thought before it, its log-probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.chat_wire import sanitise

# OpenAI and vLLM write this for a token whose log-probability is minus infinity or not known.
_NO_LOGPROB = -9999.0


def read_content(choice: Any) -> tuple[str | None, str | None, str | None, str | None]:
    """(text, reasoning, finish_reason, error) of a choice.

    Text is the content. Tool calls are text too: their JSON (a list without their random ids)
    alone, or on a line after the content. A model that was cut off while it thought has no text,
    only reasoning, and fails with `generate.no_text`.
    """
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise TeacherError("generate.malformed_response", "a choice has no message", transient=True)
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    reasoning = sanitise(reasoning) if isinstance(reasoning, str) else None
    text = _content(message.get("content"))
    if text is not None and reasoning is None:
        reasoning, text = split_reasoning(text)
    if reasoning and finish == "length" and not (text or "").strip():
        text = None
    calls = _tool_calls(message.get("tool_calls"))
    if calls is not None:
        text = f"{text}\n{calls}" if text and text.strip() else calls
    return text, reasoning, finish, "generate.no_text" if text is None else None


def split_reasoning(content: str) -> tuple[str | None, str | None]:
    """(reasoning, answer) of a content that may begin with a `<think>` block.

    Some chat templates write the opening tag into the prompt, so a closing tag alone counts too. An
    unclosed block has no answer: None.

    >>> split_reasoning("<think>hm</think> merhaba"), split_reasoning("merhaba")
    (('hm', 'merhaba'), (None, 'merhaba'))
    >>> split_reasoning("<think>cut off")
    ('cut off', None)
    """
    opened = content.lstrip().startswith("<think>")
    before, closing, after = content.partition("</think>")
    if not opened and (not closing or "<think>" in before):
        return None, content
    thought = before.lstrip().removeprefix("<think>").strip()
    return thought, after.lstrip() if closing else None


def read_logprobs(choice: Mapping[str, Any]) -> tuple[float | None, int | None]:
    """(sum of token log-probabilities or None where any is not finite, number of tokens)."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None, None
    values = [item.get("logprob") if isinstance(item, dict) else None for item in content]
    try:
        total = math.fsum(map(_logprob, values))
    except (OverflowError, ValueError):  # an integer beyond floats, or inf and -inf together
        total = math.nan
    return total if math.isfinite(total) else None, len(values)


def _logprob(value: Any) -> float:
    return value if isinstance(value, int | float) and value > _NO_LOGPROB else math.nan


def _content(content: Any) -> str | None:
    """Content as a string; some servers give it in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return sanitise(content) if isinstance(content, str) else None


def _tool_calls(calls: Any) -> str | None:
    """Tool calls as JSON, without what is random or a position: `id`, `index`."""
    if not isinstance(calls, list) or not calls:
        return None
    kept = [
        {key: value for key, value in call.items() if key not in {"id", "index"}}
        if isinstance(call, dict)
        else call
        for call in calls
    ]
    try:
        return orjson.dumps(_printable(kept)).decode()
    except (RecursionError, orjson.JSONEncodeError):  # nested deeper than any call is
        raise TeacherError("generate.malformed_response", "tool_calls", transient=True) from None


def _printable(value: Any) -> Any:
    """JSON that orjson can write: no lone surrogates, no integers beyond 64 bits."""
    if isinstance(value, str):
        return sanitise(value)
    if isinstance(value, dict):
        return {sanitise(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, int) and not -(2**53) < value < 2**53:
        return str(value)
    return value

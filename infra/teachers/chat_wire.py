"""The OpenAI chat wire: a request as JSON, an answer as completions. Pure, no I/O."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any

import orjson

from arbitrage.infra.teachers.base import Completion, Request, TeacherError

_SURROGATES = re.compile("[\ud800-\udfff]")
DETAIL_CHARACTERS = 300


def sanitise(text: str) -> str:
    """Lone surrogates become U+FFFD: no UTF-8 file can hold them.

    >>> sanitise("a\\ud800b") == "a\\ufffdb"
    True
    """
    return _SURROGATES.sub("\ufffd", text) if not text.isascii() else text


def chat_body(
    request: Request, model: str, sampling: Mapping[str, Any], extra: Mapping[str, Any]
) -> bytes:
    """The JSON body for a request. `n` is sent only above 1: some servers refuse the key.

    `seed` is the first sample's: servers derive those of further choices from it.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": role, "content": sanitise(content)} for role, content in request.messages
        ],
        "seed": request.samples[0].seed,
        **sampling,
        **extra,
    }
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


def clip(text: str) -> str:
    """One bounded line of what a server said."""
    line = " ".join(sanitise(text).split())
    return line if len(line) <= DETAIL_CHARACTERS else line[: DETAIL_CHARACTERS - 3] + "..."


def parse_answer(
    answer: Any, request: Request, *, latency_ms: float, cost_per_million: float | None
) -> list[Completion]:
    """One completion per asked sample from a `chat.completion` object.

    A choice goes to the sample of the same position. Where the server gave fewer choices than `n`,
    the missing samples fail with `generate.fewer_choices`; choices beyond `n` are dropped.

    Raises TeacherError generate.malformed_response or generate.empty_choices.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        shown = clip(reprlib.repr(answer))
        raise TeacherError("generate.malformed_response", f"no choices: {shown}", transient=True)
    if not choices:
        raise TeacherError("generate.empty_choices", "the answer has no choice", transient=True)
    ordered = sorted(choices, key=_index) if all(isinstance(c, dict) for c in choices) else choices
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt_tokens = _count(usage.get("prompt_tokens"))
    total = _count(usage.get("completion_tokens")) if len(choices) == 1 else None
    completions = []
    for place, sample in enumerate(request.samples):
        if place >= len(ordered):
            completions.append(
                Completion(
                    sample.index,
                    prompt_tokens=prompt_tokens,
                    latency_ms=latency_ms,
                    error="generate.fewer_choices",
                    detail=f"{len(choices)} choices for n={len(request.samples)}",
                    retryable=True,
                )
            )
            continue
        text, reasoning, finish, error = _content(ordered[place])
        sum_logprob, listed = _logprobs(ordered[place])
        tokens = total if total is not None else listed
        cost = None if tokens is None or cost_per_million is None else tokens * cost_per_million
        completions.append(
            Completion(
                sample.index,
                text=text,
                reasoning=reasoning,
                finish_reason=finish,
                prompt_tokens=prompt_tokens,
                completion_tokens=tokens,
                sum_logprob=sum_logprob,
                latency_ms=latency_ms,
                cost_usd=None if cost is None else cost / 1e6,
                error=error,
                detail=None if error is None else f"finish_reason {finish}",
            )
        )
    return completions


def _index(choice: Any) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _content(choice: Any) -> tuple[str | None, str | None, str | None, str | None]:
    """(text, reasoning, finish_reason, error) of a choice."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise TeacherError("generate.malformed_response", "a choice has no message", transient=True)
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    reasoning = sanitise(reasoning) if isinstance(reasoning, str) else None
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return None, reasoning, finish, "generate.no_text"
    text: str | None = sanitise(content)
    if reasoning is None:
        reasoning, text = split_reasoning(sanitise(content))
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


def _logprobs(choice: Mapping[str, Any]) -> tuple[float | None, int | None]:
    """(sum of token log-probabilities or None where any is not finite, number of tokens)."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None, None
    values = [item.get("logprob") if isinstance(item, dict) else None for item in content]
    try:
        total = math.fsum(v if isinstance(v, int | float) else math.nan for v in values)
    except (OverflowError, ValueError):  # an integer beyond floats, or inf and -inf together
        total = math.nan
    return total if math.isfinite(total) else None, len(values)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None

"""A `chat.completion` object as completions: one per asked sample. Pure, no I/O."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from arbitrage.config import TokenPrice
from arbitrage.infra.teachers.base import Completion, Request, TeacherError, Usage
from arbitrage.infra.teachers.chat_choice import read_content, read_logprobs
from arbitrage.infra.teachers.chat_wire import clip


def parse_answer(
    answer: Any, request: Request, *, latency_ms: float, price: TokenPrice | None
) -> list[Completion]:
    """One completion per asked sample from a `chat.completion` object.

    A choice goes to the sample of the same position. Where the server gave fewer choices than `n`,
    the missing samples fail with `generate.fewer_choices`; choices beyond `n` are dropped. The
    first completion carries the request's usage; each one its share of the request's cost.

    Raises TeacherError generate.malformed_response or generate.empty_choices.
    """
    asked = request.samples
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        shown = clip(reprlib.repr(answer))
        raise TeacherError("generate.malformed_response", f"no choices: {shown}", transient=True)
    if not choices:
        raise TeacherError("generate.empty_choices", "the answer has no choice", transient=True)
    if len(choices) > 1 and all(isinstance(choice, dict) for choice in choices):
        choices = sorted(choices, key=_index)
    usage = read_usage(answer.get("usage"), price)
    alone = usage.completion_tokens if len(choices) == 1 else None
    read = [(*read_content(choice), *read_logprobs(choice)) for choice in choices[: len(asked)]]
    counts = [alone if alone is not None else listed for *_, listed in read]
    if usage.completion_tokens is None and price is not None:
        usage = _counted_from_logprobs(usage, counts, price)
    lengths = [len(text or "") + len(reasoning or "") for text, reasoning, *_ in read]
    shares = cost_shares(usage.cost_usd, counts, lengths)
    done = [
        Completion(
            sample.index,
            text=text,
            reasoning=reasoning,
            finish_reason=finish,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=tokens,
            sum_logprob=sum_logprob,
            latency_ms=latency_ms,
            cost_usd=share,
            error=error,
            detail=None if error is None else f"finish_reason {finish}",
            usage=usage if sample is asked[0] else None,
        )
        for sample, (text, reasoning, finish, error, sum_logprob, _), tokens, share in zip(
            asked, read, counts, shares, strict=False
        )
    ]
    missing = [
        Completion(
            sample.index,
            prompt_tokens=usage.prompt_tokens,
            latency_ms=latency_ms,
            cost_usd=None if usage.cost_usd is None else 0.0,
            error="generate.fewer_choices",
            detail=f"{len(choices)} choices for n={len(asked)}",
            retryable=True,
        )
        for sample in asked[len(read) :]
    ]
    return done + missing


def read_usage(usage: Any, price: TokenPrice | None) -> Usage:
    """The `usage` object of an answer, with what it costs.

    Cached tokens are read where OpenAI and vLLM put them (`prompt_tokens_details`) and where
    DeepSeek does (`prompt_cache_hit_tokens`). Where `total_tokens` is more than prompt and
    completion, the rest is what a model thought (as Gemini counts): output, and paid as such.
    """
    told: dict[str, Any] = usage if isinstance(usage, dict) else {}
    prompt, completion = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    total = _count(told.get("total_tokens"))
    if prompt is not None and completion is not None and total is not None:
        completion = max(completion, total - prompt)
    cached = _detail(told, "prompt_tokens_details", "cached_tokens")
    if cached is None:
        cached = _count(told.get("prompt_cache_hit_tokens"))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        reasoning_tokens=_detail(told, "completion_tokens_details", "reasoning_tokens"),
        cost_usd=None if price is None else price.cost_usd(prompt, completion, cached),
    )


def cost_shares(
    cost_usd: float | None, counts: Sequence[int | None], lengths: Sequence[int]
) -> list[float | None]:
    """A request's cost divided among its samples, the last one taking what rounding left.

    By their tokens (`counts`) where all are known, else by `lengths` of text, else equally.

    >>> cost_shares(8.0, [3, 1], [5, 5]), cost_shares(8.0, [None, 1], [5, 5])
    ([6.0, 2.0], [4.0, 4.0])
    """
    if cost_usd is None or len(counts) == 1:
        return [cost_usd] * len(counts)
    known = [count for count in counts if count is not None]
    weights = known if len(known) == len(counts) else lengths
    whole = sum(weights)
    shares = [cost_usd * (w / whole if whole else 1 / len(counts)) for w in weights[:-1]]
    return [*shares, max(0.0, cost_usd - sum(shares))]


def _counted_from_logprobs(usage: Usage, counts: Sequence[int | None], price: TokenPrice) -> Usage:
    """Usage of a server that told no completion tokens but listed each token's logprob."""
    known = [count for count in counts if count is not None]
    if not known or len(known) < len(counts):
        return usage
    total = sum(known)
    cost = price.cost_usd(usage.prompt_tokens, total, usage.cached_tokens)
    return replace(usage, completion_tokens=total, cost_usd=cost)


def _index(choice: Any) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _detail(usage: dict[str, Any], section: str, key: str) -> int | None:
    details = usage.get(section)
    return _count(details.get(key)) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**31 else None

"""How the stand-in server answers and which faults it knows; no sockets here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import xxhash

MODES = (
    "none",
    "rate_limit",
    "server_error",
    "hang",
    "drip",
    "reset",
    "malformed",
    "wrong_content_type",
    "empty_choices",
    "fewer_choices",
    "huge",
    "nan_logprobs",
    "wrong_model",
    "too_long",
    "unauthorized",
    "parrot",
    "surrogates",
    "null_content",
    "think",
    "reasoning",
)


@dataclass(slots=True)
class Behaviour:
    """How the server answers; every field may be changed while it runs.

    Attributes:
        latency_s: fixed time of an answer; token_s adds to it per token of the longest choice.
        batch: answers in work at once, others queue (None = no limit), as a GPU's batch does.
        tokens: words of an answer, at most max_tokens of the request.
        mode: the fault, one of MODES.
        first: only the first so many requests are faulty (None = all).
        first_of_each: only the first so many requests with the same body are faulty (None = all).
        holds_after: requests beyond the first so many are taken and never answered, so that a test
            may take its time to kill the server in mid-work (None = all are answered).
        retry_after: the Retry-After header of a 429 or 500, as sent.
        huge_bytes: size of the body in mode "huge".
        models: what GET /v1/models lists.
        ignores_n: answers one choice whatever `n` says.
        keeps: the last so many request bodies are kept in the stats.
    """

    latency_s: float = 0.0
    token_s: float = 0.0
    batch: int | None = None
    tokens: int = 8
    mode: str = "none"
    first: int | None = None
    first_of_each: int | None = None
    holds_after: int | None = None
    retry_after: str | None = None
    huge_bytes: int = 64 << 20
    models: list[str] = field(default_factory=lambda: ["stand-in"])
    ignores_n: bool = False
    keeps: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"{self.mode!r} is not a mode. Known: {', '.join(MODES)}")


@dataclass(slots=True)
class Stats:
    """What the server saw. `bodies` counts them by hash, `kept` are the last ones themselves."""

    requests: int = 0
    in_flight: int = 0
    peak: int = 0
    faults: int = 0
    connections: int = 0
    bodies: Counter[str] = field(default_factory=Counter)
    kept: list[dict[str, Any]] = field(default_factory=list)


def answer_text(messages: list[dict[str, str]], seed: int, index: int, tokens: int) -> str:
    """The answer to a chat: `tokens` pieces of its last message, fixed by seed and index.

    >>> answer_text([{"role": "user", "content": "merhaba güzel dünya"}], 7, 0, 3)
    'dünya güzel merhaba'
    """
    text = str(messages[-1].get("content") or "?") if messages else "?"
    words = text.split()
    glue = " " if len(words) > 2 else ""
    pieces = words if glue else [c for c in text if not c.isspace()] or ["?"]
    number = xxhash.xxh3_64_intdigest(f"{text}\x1f{seed}\x1f{index}".encode())
    step = len(pieces)
    return glue.join(pieces[(number >> (i % 48)) % step] for i in range(tokens))


def bend(answer: dict[str, Any], mode: str) -> dict[str, Any]:
    """The faults that are a change of the JSON."""
    message = answer["choices"][0]["message"]
    if mode == "empty_choices":
        answer["choices"] = []
    elif mode == "fewer_choices":
        answer["choices"] = answer["choices"][:-1] or answer["choices"]
    elif mode == "wrong_model":
        answer["model"] = "another-model"
    elif mode == "null_content":
        message["content"] = None
    elif mode == "think":
        message["content"] = f"<think>\nhmm\n</think>\n\n{message['content']}"
    elif mode == "reasoning":
        message["reasoning_content"] = "hmm"
    return answer

"""What each teacher has really used, counted request by request as answers come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.teachers.base import Completion, Request


@dataclass(slots=True)
class TeacherUsage:
    """Sums over one teacher's finished requests, those that failed for good too.

    Attributes:
        requests, samples, failed: finished requests, their samples, the samples that failed.
        prompt_tokens ... reasoning_tokens: as the server counted them, once a request.
        untold: answered requests whose server told no completion tokens.
        cost_usd: by the teacher's prices. What an attempt cost that was sent again after a failure
            is told by no server and not in it.
        request_s: summed time of the requests; began, ended: Unix time of the first and last.

    >>> from arbitrage.infra.teachers.base import Usage
    >>> used = TeacherUsage()
    >>> asked = Request("p", "tr", "t", (("user", "selam"),), ())
    >>> used.count(asked, [Completion(0, "merhaba", usage=Usage(9, 2))], now=0.0)
    >>> used.requests, used.prompt_tokens
    (1, 9)
    """

    requests: int = 0
    samples: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    untold: int = 0
    cost_usd: float = 0.0
    request_s: float = 0.0
    began: float = 0.0
    ended: float = 0.0

    def count(self, request: Request, completions: Sequence[Completion], now: float) -> None:
        """Add one finished request, on the hot path; `now` is its end in Unix time."""
        told, failed, latency_ms = False, 0, 0.0
        for completion in completions:
            failed += completion.error is not None
            latency_ms = max(latency_ms, completion.latency_ms or 0.0)
            usage = completion.usage
            if usage is not None:
                told = told or usage.completion_tokens is not None
                self.prompt_tokens += usage.prompt_tokens or 0
                self.completion_tokens += usage.completion_tokens or 0
                self.cached_tokens += usage.cached_tokens or 0
                self.reasoning_tokens += usage.reasoning_tokens or 0
                self.cost_usd += usage.cost_usd or 0.0
        began = now - latency_ms / 1e3
        self.began = min(self.began, began) if self.requests else began
        self.ended = max(self.ended, now)
        self.requests += 1
        self.samples += len(request.samples)
        self.failed += failed
        self.untold += not told and failed < len(completions)
        self.request_s += latency_ms / 1e3

    def merge(self, other: TeacherUsage) -> None:
        """Add another's sums, over the span of both."""
        if not other.requests:
            return
        began = min(self.began, other.began) if self.requests else other.began
        ended = max(self.ended, other.ended)
        mine, its = asdict(self), asdict(other)
        for name in mine:
            setattr(self, name, mine[name] + its[name])
        self.began, self.ended = began, ended

    @property
    def seconds(self) -> float:
        """From the first request's start to the last one's end."""
        return self.ended - self.began

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


def was_sent(completions: Sequence[Completion]) -> bool:
    """Whether a finished request ever went to its teacher."""
    return completions[0].error != SPENT if completions else True

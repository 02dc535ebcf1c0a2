"""The seam every teacher backend sits on: one request in, one completion per asked sample out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from arbitrage.config import TeacherConfig
from arbitrage.errors import ArbitrageError
from arbitrage.registry import teachers as registry
from arbitrage.secrets import redacted

register = registry.register


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample asked of a teacher: its index j in 0..k-1, its candidate id and its seed."""

    index: int
    candidate_id: str
    seed: int


@dataclass(frozen=True, slots=True)
class Request:
    """All samples wanted of one teacher for one prompt.

    Attributes:
        messages: (role, content) turns, the last one a user's.
        samples: those not yet answered, at least one.
        greedy: asked at temperature 0 (`sampling.greedy_samples`), not as the rest is.
    """

    prompt_id: str
    language: str
    teacher: str
    messages: tuple[tuple[str, str], ...]
    samples: tuple[Sample, ...]
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request used, as its server counted it, and what that costs. None = not told.

    Attributes:
        prompt_tokens, cached_tokens: of the prompt, and those of them the server had cached.
        completion_tokens, reasoning_tokens: of all choices together, and those of them thought.
        cost_usd: by the teacher's prices; None where it has none or a count is missing.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished sample: a text, or an `error` of the form `stage.cause` with a detail.

    `retryable` says that the failure lies with the server and not with the request, so that a
    resumed run asks again.

    Attributes:
        prompt_tokens: of the request, so the same in each of its completions.
        completion_tokens: of this sample; None where the server told only the request's total.
        cost_usd: this sample's share of its request's cost. The shares add up to that cost; where
            the samples' tokens are not told one by one they are by length of text: an estimate.
        usage: what is counted once: summed over a request's completions it is the request's (a
            server's stands on the first one).
    """

    sample_index: int
    text: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    sum_logprob: float | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    error: str | None = None
    detail: str | None = None
    retryable: bool = False
    usage: Usage | None = None


class TeacherError(ArbitrageError):
    """A request that failed.

    Args:
        reason: `generate.CAUSE`, as counted in the graveyard.
        detail: what the server said, bounded in length and free of secrets.
        retryable: not the request's fault, so that a resumed run asks again.
        transient: worth sending again in this run, after a pause.
        retry_after_s: the pause the server asked for.
        status: of the HTTP answer, where there was one.
        unreachable: nothing is there that could answer: the address refuses connections, or the
            server that we started is lost.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retryable: bool = False,
        transient: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        unreachable: bool = False,
        mend: str = "",
    ) -> None:
        super().__init__(f"{reason}: {detail}", mend=mend)
        self.reason = reason
        self.detail = redacted(detail)
        self.retryable = retryable or transient
        self.transient = transient
        self.retry_after_s = retry_after_s
        self.status = status
        self.unreachable = unreachable


class TeacherParams(BaseModel):
    """A backend's own keys of [[teachers]].

    Class attributes:
        operational: keys that say how a request is sent and not what is asked; they are no part of
            the teacher's identity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operational: ClassVar[frozenset[str]] = frozenset()

    @property
    def most_samples(self) -> int | None:
        """Samples one request may ask for; None = as many as wanted."""
        return None


class Teacher(ABC):
    """One teacher of the pool. A backend is registered with `@register(name, version=1)`.

    A teacher lives on one event loop: it is made, used and closed there.
    """

    Params: ClassVar[type[TeacherParams]]

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.params: Any = config.params

    @classmethod
    def whole(cls, config: TeacherConfig) -> TeacherConfig:
        """The config with what the backend fills in (address, key variable), for a policy."""
        return config

    @classmethod
    def works_here(cls, config: TeacherConfig) -> bool:  # noqa: ARG003 (for backends to use)
        """Whether it loads its model or starts a program on this machine, for a policy."""
        return True

    @property
    def samples_per_request(self) -> int | None:
        """Samples one request may ask for; None = as many as wanted."""
        return None

    async def open(self) -> None:  # noqa: B027 (optional)
        """Connect, load or start what `generate` needs; called once before it.

        Raises ConfigError where the config or a file behind it is wrong.
        """

    @abstractmethod
    async def generate(self, request: Request) -> list[Completion]:
        """Send a request once: exactly one Completion per asked sample, in any order.

        Raises TeacherError where the whole request failed. Retries, pauses and limits on
        concurrency are its caller's work (infra/generation).
        """

    def generate_many(
        self,
        requests: Sequence[Request],  # noqa: ARG002
    ) -> list[list[Completion]] | None:
        """Answer a batch at once and without waiting, or None where the teacher cannot.

        For teachers that cost microseconds an answer, where a task for each would be the cost.
        """
        return None

    @abstractmethod
    async def check(self) -> str:
        """Whether it answers and serves its model, as one line; an ArbitrageError with the mend
        if not."""

    async def close(self) -> None:  # noqa: B027 (optional)
        """Release connections and processes."""


def failed(request: Request, reason: str, detail: str, *, retryable: bool) -> list[Completion]:
    """The same failure for every sample of a request."""
    return [
        Completion(sample.index, error=reason, detail=detail, retryable=retryable)
        for sample in request.samples
    ]

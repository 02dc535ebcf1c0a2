"""One request on its way through a lane, and the parts a request may be sent in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from arbitrage.infra.generation.call import Call
from arbitrage.infra.teachers.base import Completion, Request, Teacher
from arbitrage.infra.teachers.pacing import Pacer


@dataclass(slots=True, eq=False)
class Endpoint:
    """One address of a teacher: its own connections, pace and breaker, and what it is asked now."""

    teacher: Teacher
    pacer: Pacer
    jobs: set[Job] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Job:
    """A request with what happened to it so far.

    Attributes:
        attempts: those that count against max_retries.
        sent: how often it was sent at all.
        endpoint: where it is in flight, else None.
        probe: sent to learn whether its endpoint is back.
        reserved: tokens taken from the limit.
        recalled: it was withdrawn from its endpoint because that is "stalled" or "dead".
    """

    call: Call
    request: Request
    attempts: int = 0
    sent: int = 0
    endpoint: Endpoint | None = None
    task: asyncio.Task[None] | None = None
    sent_at: float = 0.0
    probe: bool = False
    reserved: float = 0.0
    recalled: str | None = None

    def recall(self, why: str) -> None:
        """Withdraw it from its endpoint; the lane's done callback says what then."""
        self.recalled = why
        if self.task is not None:
            self.task.cancel()


def split(request: Request, most: int | None) -> list[Request]:
    """A request as several of at most `most` samples."""
    samples = request.samples
    if most is None or len(samples) <= most:
        return [request]
    return [
        replace(request, samples=samples[at : at + most]) for at in range(0, len(samples), most)
    ]


def check_complete(request: Request, completions: list[Completion], teacher: str) -> None:
    """A backend that loses or invents a sample is a bug, not a failed request."""
    asked = [sample.index for sample in request.samples]
    got = [completion.sample_index for completion in completions]
    if asked != got and sorted(asked) != sorted(got):
        raise RuntimeError(f'the backend of "{teacher}" answered samples {got} for {asked}')

"""What a request is expected to cost and what it cost, in USD, tokens and requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from arbitrage.infra.generation.tokens import guess_tokens
from arbitrage.infra.teachers.base import Completion, Request, Teacher, Usage


@dataclass(slots=True)
class _Observed:
    """What a teacher's answers cost so far, so that the next ones can be expected."""

    samples: int = 0
    cost: float = 0.0


class Meter(ABC):
    """One thing that a run's requests use up."""

    name: str

    @abstractmethod
    def expected(self, teacher: Teacher, request: Request) -> float:
        """What a request will cost, as far as can be told."""

    @abstractmethod
    def cost(
        self, teacher: Teacher, completions: Sequence[Completion] | None, expected: float
    ) -> float:
        """What it cost; `completions` is None where it failed."""


class Requests(Meter):
    """One each, whatever becomes of it."""

    name = "requests"

    def expected(self, teacher: Teacher, request: Request) -> float:  # noqa: ARG002
        return 1.0

    def cost(
        self,
        teacher: Teacher,  # noqa: ARG002
        completions: Sequence[Completion] | None,  # noqa: ARG002
        expected: float,
    ) -> float:
        return expected


class _Reported(Meter):
    """What servers report: expected at the teacher's mean a sample, at its bound before that."""

    def __init__(self) -> None:
        self._observed: dict[str, _Observed] = {}

    @abstractmethod
    def _bound(self, teacher: Teacher, request: Request) -> float: ...

    @abstractmethod
    def _told(self, usage: Usage) -> float | None: ...

    def expected(self, teacher: Teacher, request: Request) -> float:
        observed = self._observed.get(teacher.config.name)
        if observed is not None:
            return len(request.samples) * observed.cost / observed.samples
        return self._bound(teacher, request)

    def cost(
        self, teacher: Teacher, completions: Sequence[Completion] | None, expected: float
    ) -> float:
        """What the server said it used; what was expected where it said nothing."""
        if completions is None:
            return 0.0
        told = [self._told(c.usage) for c in completions if c.usage is not None]
        known = [cost for cost in told if cost is not None]
        cost = sum(known) if known else expected
        observed = self._observed.setdefault(teacher.config.name, _Observed())
        observed.samples += len(completions)
        observed.cost += cost
        return cost


class Dollars(_Reported):
    """USD, by the teacher's price; nothing where it has none."""

    name = "usd"

    def _bound(self, teacher: Teacher, request: Request) -> float:
        price = teacher.config.price
        if price is None:
            return 0.0
        prompt = _prompt_tokens(request) if price.input else 0
        return price.cost_usd(prompt, _most_answer_tokens(teacher, request), None) or 0.0

    def _told(self, usage: Usage) -> float | None:
        return usage.cost_usd


class Tokens(_Reported):
    """Tokens of prompts and answers, as the server counts them."""

    name = "tokens"

    def _bound(self, teacher: Teacher, request: Request) -> float:
        return _prompt_tokens(request) + _most_answer_tokens(teacher, request)

    def _told(self, usage: Usage) -> float | None:
        told = [count for count in (usage.prompt_tokens, usage.completion_tokens) if count]
        return float(sum(told)) if told else None


def _prompt_tokens(request: Request) -> int:
    return round(sum(guess_tokens(content) for _, content in request.messages))


def _most_answer_tokens(teacher: Teacher, request: Request) -> int:
    return len(request.samples) * (teacher.config.sampling.max_tokens or 0)

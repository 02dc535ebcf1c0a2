"""A limit in USD on what a run's requests cost, kept over all its teachers and resumes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from arbitrage.infra.generation.tokens import guess_tokens
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Teacher,
    TeacherError,
    TeacherParams,
)

SPENT = "generate.budget_spent"

# Ten times a tenth must still be one.
_ROUNDING = 1 + 1e-9


@dataclass(slots=True)
class _Observed:
    """What a teacher's answers cost so far, so that the next ones can be expected."""

    samples: int = 0
    cost_usd: float = 0.0


class Budget:
    """Lets requests go while what is spent and what is committed stay within the limit.

    Committed: the expected cost of each request in flight: the teacher's mean a sample so far;
    before its first answer the bound from its prompt and max_tokens. A request that would not fit
    waits for those in flight, which may cost less than expected. Where it does not fit and nothing
    is in flight, the budget is spent for good: it and all later ones fail with
    `generate.budget_spent`, to every teacher. The limit can be passed only by what the requests in
    flight cost beyond what was expected of them.

    Lives on the pool's event loop.

    Args:
        limit_usd: most to spend.
        spent_usd: spent before, by the same run.
    """

    def __init__(self, limit_usd: float, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.committed_usd = 0.0
        self.is_spent = spent_usd >= limit_usd
        self._in_flight = 0
        self._observed: dict[str, _Observed] = {}
        self._waiting: deque[tuple[asyncio.Future[float], Teacher, Request]] = deque()

    def over(self, teacher: Teacher) -> Teacher:
        """The teacher, asked only within the budget; one that answers without calling as it is."""
        if type(teacher).generate_many is not Teacher.generate_many:
            return teacher
        return _Budgeted(teacher, self)

    async def ask(self, teacher: Teacher, request: Request) -> list[Completion]:
        """What the teacher answers; TeacherError generate.budget_spent where nothing is left."""
        expected = await self._commit(teacher, request)
        cost = 0.0
        try:
            completions = await teacher.generate(request)
            cost = self._cost(teacher, completions, expected)
        finally:
            self._in_flight -= 1
            self.committed_usd = self.committed_usd - expected if self._in_flight else 0.0
            self.spent_usd += cost
            self._go_on()
        return completions

    async def _commit(self, teacher: Teacher, request: Request) -> float:
        if not self._waiting:
            expected = self._expected(teacher, request)
            if self._admit(expected):
                return expected
        if self.is_spent:
            raise self._refusal()
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, teacher, request))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._in_flight -= 1
                self.committed_usd -= turn.result()
                self._go_on()
            raise

    def _admit(self, expected: float) -> bool:
        """Commit `expected`, or say that it must wait; nothing in flight and no room: spent."""
        if self.is_spent:
            return False
        if self.spent_usd + self.committed_usd + expected <= self.limit_usd * _ROUNDING:
            self._in_flight += 1
            self.committed_usd += expected
            return True
        self.is_spent = self._in_flight == 0
        return False

    def _go_on(self) -> None:
        """Let those go that fit now, first come first; refuse all once the budget is spent."""
        while self._waiting:
            turn, teacher, request = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
                continue
            expected = self._expected(teacher, request)
            if self._admit(expected):
                turn.set_result(expected)
            elif self.is_spent:
                turn.set_exception(self._refusal())
            else:
                return
            self._waiting.popleft()

    def _expected(self, teacher: Teacher, request: Request) -> float:
        observed = self._observed.get(teacher.config.name)
        if observed is not None:
            return len(request.samples) * observed.cost_usd / observed.samples
        price = teacher.config.price
        if price is None:
            return 0.0
        prompt = sum(guess_tokens(content) for _, content in request.messages) if price.input else 0
        answers = len(request.samples) * (teacher.config.sampling.max_tokens or 0)
        return price.cost_usd(round(prompt), answers, None) or 0.0

    def _cost(self, teacher: Teacher, completions: Sequence[Completion], expected: float) -> float:
        """What the server said it used; what was expected where it said nothing."""
        costs = [c.usage.cost_usd for c in completions if c.usage is not None]
        known = [cost for cost in costs if cost is not None]
        cost = sum(known) if known else expected
        observed = self._observed.setdefault(teacher.config.name, _Observed())
        observed.samples += len(completions)
        observed.cost_usd += cost
        return cost

    def _refusal(self) -> TeacherError:
        detail = f"run.budget_usd = {self.limit_usd:g} is spent ({self.spent_usd:.4f} USD)"
        return TeacherError(SPENT, detail, retryable=True)


class _Budgeted(Teacher):
    """A teacher behind a budget; everything but `generate` goes straight through."""

    Params: ClassVar[type[TeacherParams]] = TeacherParams

    def __init__(self, teacher: Teacher, budget: Budget) -> None:
        self.config = teacher.config
        self.params = teacher.params
        self._teacher = teacher
        self._budget = budget

    @property
    def samples_per_request(self) -> int | None:
        return self._teacher.samples_per_request

    async def open(self) -> None:
        await self._teacher.open()

    async def generate(self, request: Request) -> list[Completion]:
        return await self._budget.ask(self._teacher, request)

    async def check(self) -> str:
        return await self._teacher.check()

    async def close(self) -> None:
        await self._teacher.close()

"""Limits on what a run asks, in USD, tokens or requests, over all its teachers and resumes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from arbitrage.config.model import RunSection
from arbitrage.infra.generation.meters import Dollars, Meter, Requests, Tokens
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
class _Limit:
    """One limit: what was spent of it, and what the requests in flight are expected to.

    `others_spent` and `others_committed` are those of who does not ask teachers, and are written
    under the budget's lock.
    """

    meter: Meter
    limit: float
    spent: float
    committed: float = 0.0
    others_spent: float = 0.0
    others_committed: float = 0.0

    @property
    def gone(self) -> float:
        return self.spent + self.others_spent

    def fits(self, expected: float) -> bool:
        promised = self.committed + self.others_committed
        return self.gone + promised + expected <= self.limit * _ROUNDING


class Budget:
    """Lets requests go while what is spent and what is committed stay within every limit.

    Committed: the expected cost of each request in flight: the teacher's mean a sample so far;
    before its first answer the bound from its prompt and max_tokens. A request that would not fit
    waits for those in flight, which may cost less than expected. Where it does not fit and nothing
    is in flight, the budget is spent for good: it and all later ones fail with
    `generate.budget_spent`, to every teacher. A limit can be passed only by what the requests in
    flight cost beyond what was expected of them; one in requests never is.

    Lives on the pool's event loop, but for `commit_other` and `settle_other`, by which questions to
    reward servers take from the same limits: they may be called from any thread.

    Args:
        usd, tokens, requests: the most of each; None = no limit.
        spent: by name, what the same run has spent before.
    """

    def __init__(
        self,
        usd: float | None = None,
        tokens: float | None = None,
        requests: float | None = None,
        *,
        spent: Mapping[str, float] | None = None,
    ) -> None:
        wanted: list[tuple[Meter, float | None]] = [
            (Dollars(), usd),
            (Tokens(), tokens),
            (Requests(), requests),
        ]
        before = spent or {}
        self._limits = [
            _Limit(meter, limit, before.get(meter.name, 0.0))
            for meter, limit in wanted
            if limit is not None
        ]
        self.is_spent = any(limit.spent >= limit.limit for limit in self._limits)
        self._in_flight = 0
        self._waiting: deque[tuple[asyncio.Future[list[float]], Teacher, Request]] = deque()
        self._lock = threading.Lock()
        self._others_in_flight = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(cls, run: RunSection, spent: Mapping[str, float]) -> Budget | None:
        """The budget that a config sets, None where it sets none."""
        limits = (run.budget_usd, run.budget_tokens, run.budget_requests)
        return None if limits == (None, None, None) else cls(*limits, spent=spent)

    def spent(self, name: str) -> float:
        """What was spent so far of "usd", "tokens" or "requests"."""
        return self._limit(name).gone

    def committed(self, name: str) -> float:
        """What the requests in flight are expected to cost."""
        return self._limit(name).committed

    def commit_other(self, expected: Mapping[str, float]) -> bool | None:
        """Commit what a question to another server costs, by the names of the limits.

        True: it may be asked, and `settle_other` follows. None: not while others are in flight.
        False: there is no room and nothing in flight that could leave any.
        """
        with self._lock:
            shares = [(limit, expected.get(limit.meter.name, 0.0)) for limit in self._limits]
            if all(limit.fits(share) for limit, share in shares):
                for limit, share in shares:
                    limit.others_committed += share
                self._others_in_flight += 1
                return True
            return False if self._no_room([share for _, share in shares]) else None

    def settle_other(self, expected: Mapping[str, float], cost: Mapping[str, float]) -> None:
        """Count what that question cost, and let those go on that wait for the difference."""
        with self._lock:
            self._others_in_flight -= 1
            for limit in self._limits:
                name = limit.meter.name
                left = limit.others_committed - expected.get(name, 0.0)
                limit.others_committed = left if self._others_in_flight else 0.0
                limit.others_spent += cost.get(name, 0.0)
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the pool is closed: nobody waits any more
                loop.call_soon_threadsafe(self._go_on)

    def over(self, teacher: Teacher) -> Teacher:
        """The teacher, asked only within the budget; one that answers without calling as it is."""
        if type(teacher).generate_many is not Teacher.generate_many:
            return teacher
        return _Budgeted(teacher, self)

    async def ask(self, teacher: Teacher, request: Request) -> list[Completion]:
        """What the teacher answers; TeacherError generate.budget_spent where nothing is left."""
        expected = await self._commit(teacher, request)
        completions: Sequence[Completion] | None = None
        try:
            completions = await teacher.generate(request)
        finally:
            with self._lock:  # another thread must find it in flight or counted, and nothing else
                self._in_flight -= 1
                for limit, share in zip(self._limits, expected, strict=True):
                    limit.committed = limit.committed - share if self._in_flight else 0.0
                    limit.spent += limit.meter.cost(teacher, completions, share)
            self._go_on()
        return list(completions)

    async def _commit(self, teacher: Teacher, request: Request) -> list[float]:
        # Known before anything is refused room, or the one who leaves room could not say so.
        self._loop = asyncio.get_running_loop()
        if not self._waiting:
            expected = self._expected(teacher, request)
            if self._admit(expected):
                return expected
        if self.is_spent:
            raise self._refusal()
        turn: asyncio.Future[list[float]] = self._loop.create_future()
        self._waiting.append((turn, teacher, request))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                with self._lock:
                    self._in_flight -= 1
                    for limit, share in zip(self._limits, turn.result(), strict=True):
                        limit.committed -= share
                self._go_on()
            raise

    def _admit(self, expected: Sequence[float]) -> bool:
        """Commit `expected`, or say that it must wait; nothing in flight and no room: spent."""
        if self.is_spent:
            return False
        shares = list(zip(self._limits, expected, strict=True))
        with self._lock:
            if all(limit.fits(share) for limit, share in shares):
                self._in_flight += 1
                for limit, share in shares:
                    limit.committed += share
                return True
            self.is_spent = self._no_room(expected)
        return False

    def _no_room(self, expected: Sequence[float]) -> bool:  # noqa: ARG002 - for who borrows
        """Whether there never will be room for what does not fit now; called under the lock."""
        return not (self._in_flight or self._others_in_flight)

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

    def _expected(self, teacher: Teacher, request: Request) -> list[float]:
        return [limit.meter.expected(teacher, request) for limit in self._limits]

    def _limit(self, name: str) -> _Limit:
        return next(limit for limit in self._limits if limit.meter.name == name)

    def _refusal(self) -> Exception:
        return refusal((limit.meter.name, limit.limit, limit.gone) for limit in self._limits)


def refusal(limits: Iterable[tuple[str, float, float]]) -> TeacherError:
    """What a request fails with once the budget is spent: names, limits, what is spent of them."""
    said = ", ".join(
        f"run.budget_{name} = {limit:g} ({gone:g} spent)" for name, limit, gone in limits
    )
    return TeacherError(SPENT, f"the budget is spent: {said}", retryable=True)


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

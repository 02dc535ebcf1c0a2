"""One `complete()` in progress: what is left of it, its tasks, its sink and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from arbitrage.infra.generation.counts import GenerationCounts
from arbitrage.infra.teachers.base import Completion, Request

Sink = Callable[[Request, list[Completion]], Awaitable[None] | None]


class Call:
    """Lives on the pool's loop. It is over when nothing of it is left or its first error is known.

    Attributes:
        left: requests not yet handed to the sink (or dropped).
        stopping: nothing new of it is sent.
        tasks: its requests in work, each in flight or at the sink.
        timers: its requests that wait to be sent again, each with what to do if it is dropped.
        orphans: requests (still counted in `left`) whose teacher is dead, for the caller to take.
    """

    def __init__(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        self.sink = sink
        self.counts = GenerationCounts()
        self.left = 0
        self.stopping = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.timers: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        self.orphans: list[Request] = []
        self._loop = loop
        self._over: asyncio.Future[None] = loop.create_future()

    def hand(
        self, request: Request, completions: list[Completion]
    ) -> Coroutine[Any, Any, None] | None:
        """Hand a finished request to the sink and count it; what to await where the sink waits."""
        taken = self.sink(request, completions)
        if taken is not None:
            return self._count_after(taken, request, completions)
        self._count(request, completions)
        return None

    async def deliver(self, request: Request, completions: list[Completion]) -> None:
        """Hand a finished request to the sink, and wait where it waits."""
        waiting = self.hand(request, completions)
        if waiting is not None:
            await waiting

    async def _count_after(
        self, taken: Awaitable[None], request: Request, completions: list[Completion]
    ) -> None:
        await taken
        self._count(request, completions)

    def _count(self, request: Request, completions: list[Completion]) -> None:
        self.counts.add(request.teacher, completions)
        self.left -= 1
        if self.left == 0:
            self._end()

    def settle(self, outcomes: Sequence[tuple[Request, list[Completion]]]) -> None:
        """Deliver requests that ended without an answer, one after the other."""

        async def deliver() -> None:
            for request, completions in outcomes:
                await self.deliver(request, completions)

        self.started(self._loop.create_task(deliver()))

    def replaced(self, count: int) -> None:
        """So many orphans are no longer waited for: others were asked in their place."""
        self.left -= count
        if self.left == 0:
            self._end()

    def fail(self, error: BaseException) -> None:
        """End with `error`, the first one counts; what is in flight is cancelled."""
        self.stopping = True
        if not self._over.done():
            self._over.set_exception(error)
        self.cancel()

    def stop(self, grace_s: float) -> None:
        """Send nothing more; what is in flight may end within `grace_s`, then it is cancelled."""
        if not self.stopping:
            self.stopping = True
            self.cancel_timers()
            self._loop.call_later(grace_s, self.cancel)
        if not self.tasks:
            self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def cancel(self) -> None:
        self.cancel_timers()
        for task in self.tasks:
            task.cancel()

    def cancel_timers(self) -> None:
        while self.timers:
            timer, dropped = self.timers.popitem()
            timer.cancel()
            dropped()

    def started(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)
        elif self.stopping and not self.tasks:
            self._end()

    async def wait(self) -> None:
        """Until it is over; raises its error. No task of it is alive afterwards."""
        try:
            if self.left or self._over.done():
                await self._over
        finally:
            await self.settled()

    async def settled(self) -> None:
        """Send nothing more, cancel what is in work, and wait until it is gone."""
        self.stopping = True
        self.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

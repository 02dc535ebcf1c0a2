"""The lane of a teacher that answers whole batches: no task, slot or retry a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from arbitrage.infra.generation.call import Call
from arbitrage.infra.generation.death import Death
from arbitrage.infra.generation.job import check_complete, split
from arbitrage.infra.teachers.base import Request, Teacher

BATCH = 256


def answers_batches(teacher: Teacher) -> bool:
    """Whether its backend implements generate_many."""
    return type(teacher).generate_many is not Teacher.generate_many


class BatchLane:
    """Asks `generate_many` for a batch after the other; the loop breathes in between."""

    death: Death | None = None

    def __init__(self, teacher: Teacher, loop: asyncio.AbstractEventLoop) -> None:
        self.config = teacher.config
        self._teacher = teacher
        self._loop = loop
        self._waiting: deque[tuple[Call, deque[Request]]] = deque()
        self._open = False
        self._running: asyncio.Task[None] | None = None

    def enqueue(self, call: Call, requests: Iterable[Request]) -> None:
        """Add a call's requests for this teacher."""
        most = self._teacher.samples_per_request
        queue = deque(part for request in requests for part in split(request, most))
        call.left += len(queue)
        self._waiting.append((call, queue))
        if self._running is None:
            self._running = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            if not self._open:
                await self._teacher.open()
                self._open = True
            while self._waiting:
                call, requests = self._waiting[0]
                if not requests or call.stopping:
                    self._waiting.popleft()
                    continue
                batch = [requests.popleft() for _ in range(min(BATCH, len(requests)))]
                task = self._loop.create_task(self._answer(call, batch))
                call.started(task)
                await asyncio.wait([task])
        except Exception as error:  # noqa: BLE001 (each waiting call raises it; else it would hang)
            calls = [call for call, _ in self._waiting]
            self._waiting.clear()
            for call in calls:
                call.fail(error)
        finally:
            self._running = None

    async def _answer(self, call: Call, batch: list[Request]) -> None:
        answers = self._teacher.generate_many(batch)
        if answers is None:
            raise RuntimeError(f'the backend of "{self.config.name}" gave None for a batch')
        call.counts.sent += len(batch)
        for request, completions in zip(batch, answers, strict=True):
            check_complete(request, completions, self.config.name)
            await call.deliver(request, completions)

    async def close(self) -> None:
        """Stop and release the teacher. Calls in progress must have ended."""
        task = self._running
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        await self._teacher.close()

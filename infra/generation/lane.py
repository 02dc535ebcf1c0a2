"""One teacher's lane: the requests that wait for it, from all shards, and those in flight.

A slot is held only while a request is with the server: not in a queue, not in the pause before a
retry, not while the sink writes. So a timeout never counts waiting, and a slow disk or a refused
request never idles a teacher.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from arbitrage.infra.generation.call import Call
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Teacher,
    TeacherError,
    failed,
)
from arbitrage.infra.teachers.pacing import Pacer, RetryPolicy

BATCH = 256


@dataclass(slots=True)
class _Job:
    call: Call
    request: Request
    attempts: int = 0
    holds_slot: bool = False


class Lane:
    """Sends one teacher's requests, first call first, never more than its pacer allows.

    Tasks alive: at most twice max_concurrency, in flight or at the sink; those that wait for a
    retry are timers, at most max_concurrency too.
    """

    def __init__(
        self, teacher: Teacher, policy: RetryPolicy, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.teacher = teacher
        self.config = teacher.config
        self.pacer = Pacer(self.config.max_concurrency)
        self._policy = policy
        self._loop = loop
        self._open = False
        self._opening: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[Call, deque[Request]]] = deque()
        self._again: deque[_Job] = deque()
        self._pausing = 0
        self._alive = 0
        self._wake: asyncio.TimerHandle | None = None
        self._batched = type(teacher).generate_many is not Teacher.generate_many
        self._batches: asyncio.Task[None] | None = None

    def enqueue(self, call: Call, requests: Iterable[Request]) -> None:
        """Add a call's requests for this teacher."""
        most = self.teacher.samples_per_request
        queue = deque(part for request in requests for part in split(request, most))
        call.left += len(queue)
        self._waiting.append((call, queue))
        if self._open:
            self._fill()
        elif self._opening is None:
            self._opening = self._loop.create_task(self._open_teacher())

    async def _open_teacher(self) -> None:
        try:
            await self.teacher.open()
        except Exception as error:  # noqa: BLE001 (each waiting call raises it; else it would hang)
            calls = [call for call, _ in self._waiting]
            self._waiting.clear()
            self._opening = None
            for call in calls:
                call.fail(error)
        else:
            self._open = True
            self._fill()

    def _front(self) -> tuple[Call, deque[Request]] | None:
        """The first call that still has something to send."""
        while self._waiting:
            call, requests = self._waiting[0]
            if requests and not call.stopping:
                return call, requests
            self._waiting.popleft()
        return None

    def _next(self) -> _Job | None:
        while self._again:
            job = self._again.popleft()
            if not job.call.stopping:
                return job
        front = self._front()
        return _Job(front[0], front[1].popleft()) if front else None

    def _fill(self) -> None:
        """Start what may start now."""
        if self._batched:
            if self._batches is None:
                self._batches = self._loop.create_task(self._run_batches())
            return
        now, limit = self._loop.time(), self.config.max_concurrency
        while (
            self.pacer.free(now) > 0
            and self._alive < 2 * limit
            and (self._again or self._pausing < limit)
        ):
            if (job := self._next()) is None:
                return
            self.pacer.started()
            job.holds_slot = True
            self._alive += 1
            task = self._loop.create_task(self._work(job))
            # Not in _work's own `finally`: a task cancelled before its first step never gets there.
            task.add_done_callback(partial(self._ended, job))
            job.call.started(task)
        wait_s = self.pacer.wait_s(now)
        if wait_s > 0 and self._wake is None:
            self._wake = self._loop.call_later(wait_s, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._fill()

    async def _work(self, job: _Job) -> None:
        """One attempt, and the sink where it was the last."""
        job.attempts += 1
        job.call.counts.sent += 1
        job.call.counts.retries += job.attempts > 1
        try:
            completions = await self.teacher.generate(job.request)
            _check_complete(job.request, completions, self.config.name)
        except TeacherError as error:
            if error.retry_after_s:
                self.pacer.pause(
                    self._loop.time(), min(error.retry_after_s, self._policy.max_retry_after_s)
                )
            if error.transient and job.attempts <= self.config.max_retries:
                if not job.call.stopping:
                    self._send_later(job, error)
                return
            completions = failed(job.request, error.reason, error.detail, retryable=error.retryable)
        self._release(job)
        self._fill()
        await job.call.deliver(job.request, completions)

    def _release(self, job: _Job) -> None:
        if job.holds_slot:
            job.holds_slot = False
            self.pacer.finished()

    def _ended(self, job: _Job, _: asyncio.Task[None]) -> None:
        self._release(job)
        self._alive -= 1
        self._fill()

    def _send_later(self, job: _Job, error: TeacherError) -> None:
        uniform = random.random()  # noqa: S311 (spreads load, guards nothing)
        delay_s = self._policy.delay_s(job.attempts, error.retry_after_s, uniform)

        def ready() -> None:
            del job.call.timers[timer]
            self._again.append(job)
            no_longer()

        def no_longer() -> None:
            self._pausing -= 1
            self._fill()

        self._pausing += 1
        timer = self._loop.call_later(delay_s, ready)
        job.call.timers[timer] = no_longer

    async def _run_batches(self) -> None:
        """For teachers with generate_many: no task a request, and the loop breathes in between."""
        try:
            while (front := self._front()) is not None:
                call, requests = front
                batch = [requests.popleft() for _ in range(min(BATCH, len(requests)))]
                task = self._loop.create_task(self._answer(call, batch))
                call.started(task)
                await asyncio.wait([task])
        finally:
            self._batches = None

    async def _answer(self, call: Call, batch: list[Request]) -> None:
        answers = self.teacher.generate_many(batch)
        if answers is None:
            raise RuntimeError(f'the backend of "{self.config.name}" gave None for a batch')
        call.counts.sent += len(batch)
        for request, completions in zip(batch, answers, strict=True):
            _check_complete(request, completions, self.config.name)
            await call.deliver(request, completions)

    async def close(self) -> None:
        """Stop and release the teacher. Calls in progress must have ended."""
        if self._wake is not None:
            self._wake.cancel()
        tasks = [task for task in (self._opening, self._batches) if task and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.teacher.close()


def split(request: Request, most: int | None) -> list[Request]:
    """A request as several of at most `most` samples."""
    samples = request.samples
    if most is None or len(samples) <= most:
        return [request]
    return [
        replace(request, samples=samples[at : at + most]) for at in range(0, len(samples), most)
    ]


def _check_complete(request: Request, completions: list[Completion], teacher: str) -> None:
    """A backend that loses or invents a sample is a bug, not a failed request."""
    asked = [sample.index for sample in request.samples]
    got = [completion.sample_index for completion in completions]
    if asked != got and sorted(asked) != sorted(got):
        raise RuntimeError(f'the backend of "{teacher}" answered samples {got} for {asked}')

"""One teacher's lane: the requests that wait for it, from all shards, and those in flight.

A slot is held only while a request is with the server: not in a queue, not in the pause before a
retry, not while the sink writes. So a timeout never counts waiting, and a slow disk or a refused
request never idles a teacher.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from arbitrage.infra.generation.call import Call
from arbitrage.infra.generation.death import STALLED, Death
from arbitrage.infra.generation.job import Endpoint, Job, check_complete, split
from arbitrage.infra.generation.waiting import Queue
from arbitrage.infra.teachers.base import Completion, Request, Teacher, TeacherError, failed
from arbitrage.infra.teachers.breaker import BreakerPolicy
from arbitrage.infra.teachers.buckets import RateLimits, RetryBudget
from arbitrage.infra.teachers.pacing import Pacer, RetryPolicy

# Hundreds of first steps in one turn of the loop would all connect before any of them sends.
_STARTED_AT_ONCE = 16


class Lane:
    """Sends one teacher's requests, first call first, never more than its pacers allow.

    Requests go to the endpoint with the fewest in flight. One that fails through an endpoint that
    is down goes back to the queue. Once all endpoints were down for the teacher's dead_after_s it
    is dead: what waits is handed back to its call, and so is whatever comes later.

    Tasks alive: at most twice what may be in flight, at a server or at the sink.

    Args:
        teachers: one for each endpoint, with the same config but for the address.
        breaker: when an endpoint counts as down; by default fitted to dead_after_s.
        on_death: called once, after what waited was handed back.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        policy: RetryPolicy,
        loop: asyncio.AbstractEventLoop,
        *,
        breaker: BreakerPolicy | None = None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        config = self.config = teachers[0].config
        after_s, stall_s = config.dead_after_s, config.longest_stall_s
        if breaker is None:
            breaker = BreakerPolicy(probe_s=min(1.0, after_s / 4), cap_s=min(30.0, after_s / 2))
        most, first = config.max_concurrency, config.initial_concurrency
        self.endpoints = [
            Endpoint(teacher, Pacer(most, first, breaker=breaker, stall_s=stall_s))
            for teacher in teachers
        ]
        self.death: Death | None = None
        self._on_death = on_death
        self._policy = policy
        self._limits = RateLimits(
            config.requests_per_minute, config.tokens_per_minute, config.sampling.max_tokens
        )
        self._queue = Queue(RetryBudget(most * len(teachers)))
        self._loop = loop
        self._open = False
        self._opening: asyncio.Task[None] | None = None
        self._pausing: dict[asyncio.TimerHandle, Job] = {}
        self._orphans: list[Job] = []
        self._alive = 0
        self._working: dict[asyncio.Task[None], Job] = {}
        self._most_alive = 2 * most * len(teachers)
        self._wake: asyncio.TimerHandle | None = None
        self._tick_s = min(1.0, stall_s / 4, after_s / 4)
        self._tick: asyncio.TimerHandle | None = None
        self._handing_back: asyncio.Task[None] | None = None

    def enqueue(self, call: Call, requests: Iterable[Request]) -> None:
        """Add a call's requests for this teacher."""
        most = self.endpoints[0].teacher.samples_per_request
        queue = deque(part for request in requests for part in split(request, most))
        call.left += len(queue)
        if self.death is not None:
            call.orphans.extend(queue)
            return
        self._queue.add(call, queue)
        if self._open:
            self._begin()
        elif self._opening is None:
            self._opening = self._loop.create_task(self._open_teacher())

    async def _open_teacher(self) -> None:
        try:
            await asyncio.gather(*(endpoint.teacher.open() for endpoint in self.endpoints))
        except Exception as error:  # noqa: BLE001 (each waiting call raises it; else it would hang)
            calls = self._queue.calls()
            self._queue.drain()
            self._opening = None
            for call in calls:
                call.fail(error)
        else:
            self._open = True
            self._begin()

    def _begin(self) -> None:
        if self._tick is None:
            for endpoint in self.endpoints:
                endpoint.pacer.idle_ended()
            self._tick = self._loop.call_later(self._tick_s, self._look_after)
        self._fill()

    # What is sent, and where

    def _endpoint(self, now: float) -> Endpoint | None:
        """Of those that may be sent something, the one with the fewest in flight."""
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return only if only.pacer.free(now) > 0 else None
        free = [endpoint for endpoint in self.endpoints if endpoint.pacer.free(now) > 0]
        return min(free, key=lambda endpoint: endpoint.pacer.in_flight, default=None)

    def _fill(self) -> None:
        """Start what may start now, a few a turn of the loop; wake up when time allows more."""
        now = self._loop.time()
        for _ in range(_STARTED_AT_ONCE):
            taken = self._take(now) if self._alive < self._most_alive else None
            if taken is None:
                return
            self._start(*taken, now)
        self._loop.call_soon(self._fill)

    def _take(self, now: float) -> tuple[Job, Endpoint] | None:
        """What to send now and where, or None; then, where only time is missing, the alarm is set.

        A job that was taken must be sent: its tokens are charged.
        """
        if self.death is not None:
            return None
        endpoint = self._endpoint(now)
        if endpoint is None:
            for other in self.endpoints:
                self._wake_in(other.pacer.wait_s(now))
            return None
        job = self._queue.next(now, fresh=not endpoint.pacer.breaker.closed)
        if job is None:
            self._wake_in(self._queue.wait_s(now))
            return None
        if not self._limits.unlimited:
            job.reserved = self._limits.reservation(job.request)
            if (wait_s := self._limits.wait_s(now, job.reserved)) > 0:
                self._queue.put_back(job)
                self._wake_in(wait_s)
                return None
            self._limits.take(job.reserved)
        return job, endpoint

    def _wake_in(self, seconds: float | None) -> None:
        if seconds is None:
            return
        when = self._loop.time() + max(seconds, 0.001)
        if self._wake is not None:
            if self._wake.when() <= when:
                return
            self._wake.cancel()
        self._wake = self._loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._fill()

    def _start(self, job: Job, endpoint: Endpoint, now: float) -> None:
        """Send it from a task of its own."""
        self._alive += 1
        task = self._loop.create_task(self._work(job))
        # Not in _work's own `finally`: a task cancelled before its first step never gets there.
        task.add_done_callback(self._ended)
        self._send_from(task, job, endpoint, now)
        job.call.started(task)

    def _send_from(
        self, task: asyncio.Task[None], job: Job, endpoint: Endpoint, now: float
    ) -> None:
        self._queue.sent(job)
        counts = job.call.counts
        counts.sent += 1
        counts.retries += job.sent > 0
        job.sent += 1
        job.attempts += 1
        job.endpoint, job.sent_at, job.recalled = endpoint, now, None
        job.probe = endpoint.pacer.started(now)
        endpoint.jobs.add(job)
        job.task = task
        self._working[task] = job

    # How an attempt ends

    async def _work(self, job: Job) -> None:
        """Attempt after attempt of one call, each with the sink where it was a request's last.

        The next request is sent in the turn of the loop that read the last answer: from a task of
        its own it would wait until every other answer of that turn was read.
        """
        call = job.call
        while True:
            completions = await self._attempt(job)
            if completions is not None:
                waiting = call.hand(job.request, completions)
                if waiting is not None:  # nothing may be held up by a slow sink
                    self._fill()
                    await waiting
            now = self._loop.time()
            taken = self._take(now)
            if taken is None:
                return
            following, endpoint = taken
            if following.call is not call:
                self._start(following, endpoint, now)
                return
            task, job.task = job.task, None
            assert task is not None
            self._send_from(task, following, endpoint, now)
            self._fill()
            job = following

    async def _attempt(self, job: Job) -> list[Completion] | None:
        """How a request ended, its slot free, or None where it is sent again."""
        endpoint = job.endpoint
        assert endpoint is not None
        try:
            completions = await endpoint.teacher.generate(job.request)
            check_complete(job.request, completions, self.config.name)
        except TeacherError as error:
            return self._failed(job, endpoint, error)
        endpoint.pacer.answered(self._loop.time())
        if not self._limits.unlimited:
            self._limits.correct(job.reserved, completions)
        self._release(job)
        return completions

    def _failed(self, job: Job, endpoint: Endpoint, error: TeacherError) -> list[Completion] | None:
        """How a failed request ends, or None where it is sent again. Its slot is free then."""
        now = self._loop.time()
        if error.retry_after_s:
            pause_s = min(error.retry_after_s, self._policy.max_retry_after_s)
            endpoint.pacer.pause(now, pause_s)
        is_down = endpoint.pacer.failed(now, error, job.sent_at, probe=job.probe)
        job.probe = False
        self._release(job)
        if is_down:
            job.attempts -= 1
            self._queue.add_again(job)
            return None
        if error.transient and job.attempts <= self.config.max_retries:
            if not job.call.stopping:
                self._send_later(job, error)
            return None
        return failed(job.request, error.reason, error.detail, retryable=error.retryable)

    def _release(self, job: Job) -> bool:
        """Free its slot; False where it held none any more."""
        endpoint = job.endpoint
        if endpoint is None:
            return False
        job.endpoint = None
        endpoint.jobs.discard(job)
        endpoint.pacer.ended(probe=job.probe)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._alive -= 1
        job = self._working.pop(task)
        if job.task is task:  # else it was sent again already
            job.task = None
            self._release(job)
            if job.recalled is not None and task.cancelled() and not job.call.stopping:
                self._recalled(job)
        self._fill()

    def _recalled(self, job: Job) -> None:
        if job.recalled == "dead":
            self._orphans.append(job)
        elif job.attempts <= self.config.max_retries:
            self._queue.add_again(job)
        else:
            detail = f"in flight while nothing was answered for {self.config.longest_stall_s:g} s"
            completions = failed(job.request, STALLED, detail, retryable=True)
            job.call.settle([(job.request, completions)])

    def _send_later(self, job: Job, error: TeacherError) -> None:
        uniform = random.random()  # noqa: S311 (spreads load, guards nothing)
        delay_s = self._policy.delay_s(job.attempts, error.retry_after_s, uniform)

        def ready() -> None:
            del job.call.timers[timer]
            no_longer()
            self._queue.add_again(job)
            self._fill()

        def no_longer() -> None:
            del self._pausing[timer]

        timer = self._loop.call_later(delay_s, ready)
        self._pausing[timer] = job
        job.call.timers[timer] = no_longer

    # Watching over the endpoints

    def _look_after(self) -> None:
        """Some times a second while there is work: stalled endpoints, and the teacher's death."""
        self._tick = None
        if self.death is not None or not (self._alive or self._pausing or self._queue):
            return
        now, after_s = self._loop.time(), self.config.dead_after_s
        for endpoint in self.endpoints:
            if endpoint.pacer.stalled(now):
                endpoint.pacer.trip(now)
                for job in endpoint.jobs:
                    job.recall("stalled")
        if all(endpoint.pacer.dead(now, after_s) for endpoint in self.endpoints):
            self._die()
            return
        self._tick = self._loop.call_later(self._tick_s, self._look_after)
        self._fill()

    def _die(self) -> None:
        errors = [endpoint.pacer.last_error for endpoint in self.endpoints]
        self.death = Death.of(self.config.name, errors)
        self._orphans += self._queue.drain()
        for timer, job in list(self._pausing.items()):
            timer.cancel()
            job.call.timers.pop(timer)()
            self._orphans.append(job)
        jobs = [job for endpoint in self.endpoints for job in endpoint.jobs]
        tasks = [job.task for job in jobs if job.task is not None]
        for job in jobs:
            job.recall("dead")
        self._handing_back = self._loop.create_task(self._hand_back(tasks))

    async def _hand_back(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """All at once and not before what was in flight is back: a prompt moves as a whole."""
        if tasks:
            await asyncio.wait(tasks)
        for job in self._orphans:
            if not job.call.stopping:
                job.call.orphans.append(job.request)
        self._orphans.clear()
        self._on_death()

    async def rest(self) -> None:
        """Release the teacher until its next request. Nothing of it may be in work."""
        self._open, self._opening = False, None
        for endpoint in self.endpoints:
            await endpoint.teacher.close()

    async def close(self) -> None:
        """Stop and release the teacher. Calls in progress must have ended."""
        for timer in (self._wake, self._tick):
            if timer is not None:
                timer.cancel()
        tasks = [task for task in (self._opening, self._handing_back) if task and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for endpoint in self.endpoints:
            await endpoint.teacher.close()

"""The teachers of a run on one event loop in one thread, shared by all shard threads."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

from arbitrage import registry
from arbitrage.config import TeacherConfig
from arbitrage.errors import InterruptedRunError, unknown_name
from arbitrage.infra.generation.batches import BatchLane, answers_batches
from arbitrage.infra.generation.budget import Budget
from arbitrage.infra.generation.call import Call, Sink
from arbitrage.infra.generation.checks import Answer, check_teachers
from arbitrage.infra.generation.counts import GenerationCounts
from arbitrage.infra.generation.death import AllTeachersDeadError, Deaths, Handed, buried
from arbitrage.infra.generation.lane import Lane
from arbitrage.infra.teachers.base import Request, Teacher
from arbitrage.infra.teachers.breaker import BreakerPolicy
from arbitrage.infra.teachers.pacing import RetryPolicy

ResultT = TypeVar("ResultT")
Progress = Callable[[GenerationCounts], None]
HandBack = Callable[[Sequence[Request], Deaths], Handed]

_POLL_S = 0.05


class TeacherPool:
    """Sends requests to teachers; `complete` may be called from several threads at once.

    Each teacher's limits hold for all callers together; requests of the call that came first are
    sent first. A teacher is opened (connected, loaded) when its first request comes.

    Args:
        configs: the teachers of the run, with different names.
        policy: pauses between retries; how many is each teacher's max_retries.
        breaker: when an endpoint counts as down; by default fitted to each dead_after_s.
        grace_s: how long requests in flight may still end once a call is asked to stop.
        budget: limits over all teachers; beyond them requests fail.

    Raises ConfigError where a teacher's config cannot work.
    """

    def __init__(
        self,
        configs: Sequence[TeacherConfig],
        *,
        policy: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        grace_s: float = 5.0,
        budget: Budget | None = None,
    ) -> None:
        self._configs = list(configs)
        self._budget = budget
        self._grace_s = grace_s
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._bug_in_a_callback)
        self._calls: set[Call] = set()
        self._lanes: dict[str, Lane | BatchLane] = {}
        self._breaker = breaker
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="teachers", daemon=True)
        self._thread.start()
        try:
            self._submit(self._make_lanes(policy or RetryPolicy())).result()
        except BaseException:
            self.close()
            raise

    def complete(
        self,
        requests: Iterable[Request],
        sink: Sink,
        stop: threading.Event,
        progress: Progress | None = None,
        hand_back: HandBack | None = None,
    ) -> GenerationCounts:
        """Send the requests and hand each finished one to the sink, as soon as it is finished.

        A request reaches the sink once, or in parts where its teacher takes fewer samples a request
        (`samples_per_request`): every asked sample is in exactly one Completion.

        Args:
            requests: kept in memory until sent; a shard's worth.
            sink: called on the pool's thread as `sink(request, completions)`; what it returns is
                awaited, so it can push back. It must not block.
            stop: once set, nothing more is sent; requests in flight get grace_s to end.
            progress: called in this thread with the counts so far, some times a second.
            hand_back: called in this thread with the requests of teachers that died: what to ask
                in their place, of living ones. By default, and where it gives none, they fail with
                generate.teacher_dead.

        Raises:
            AllTeachersDeadError: none is left; the sink has all that finished.
            InterruptedRunError: `stop` was set before the end; the sink has all that finished.
            UnknownNameError: a request for a teacher that is not in the pool; nothing was sent.
            Whatever the sink, a teacher's open, or a bug in a backend raises; nothing of this call
            is in flight then.
        """
        by_teacher: defaultdict[str, list[Request]] = defaultdict(list)
        for request in requests:
            by_teacher[request.teacher].append(request)
        for name in by_teacher:
            if name not in self._lanes:
                raise unknown_name("teacher of this pool", name, self._lanes)
        call = Call(sink, self._loop)
        lists = by_teacher.values()
        call.counts.requested = sum(len(request.samples) for some in lists for request in some)
        running = self._submit(self._run(call, by_teacher))
        try:
            self._watch(running, call, stop, progress, hand_back or _bury_all)
        except BaseException:
            running.cancel()
            if not self._closed:
                self._submit(call.settled()).result()
            raise
        if call.left:
            counts = call.counts
            raise InterruptedRunError(
                f"stopped with {counts.finished} of {counts.requested} candidates generated.",
                mend="Run the same command again to go on.",
            )
        return call.counts

    def _watch(
        self,
        running: Future[None],
        call: Call,
        stop: threading.Event,
        progress: Progress | None,
        hand_back: HandBack,
    ) -> None:
        while True:
            if stop.is_set():
                self._loop.call_soon_threadsafe(call.stop, self._grace_s)
            if call.orphans and not call.stopping:
                orphans, deaths = self._submit(self._take(call)).result()
                handed = hand_back(orphans, deaths)
                self._submit(self._replace(call, handed, len(orphans), deaths)).result()
            try:
                running.result(timeout=_POLL_S)
            except NotYet:
                if running.done():
                    raise
            if progress is not None:
                progress(call.counts)
            if running.done():
                return

    async def _run(self, call: Call, by_teacher: dict[str, list[Request]]) -> None:
        self._calls.add(call)
        try:
            for name, requests in by_teacher.items():
                self._lanes[name].enqueue(call, requests)
            self._end_if_all_are_dead()
            await call.wait()
        finally:
            self._calls.discard(call)

    # Dead teachers

    def _end_if_all_are_dead(self) -> None:
        deaths = self._deaths()
        if len(deaths) == len(self._lanes):
            for call in list(self._calls):
                call.fail(AllTeachersDeadError.of(deaths.values()))

    def _deaths(self) -> Deaths:
        return {name: lane.death for name, lane in self._lanes.items() if lane.death is not None}

    async def _take(self, call: Call) -> tuple[list[Request], Deaths]:
        orphans, call.orphans = call.orphans, []
        return orphans, self._deaths()

    async def _replace(self, call: Call, handed: Handed, count: int, deaths: Deaths) -> None:
        """Ask others in the place of `count` orphans, and let those fail that nobody else may do.

        A replacement whose teacher died meanwhile is an orphan again.
        """
        if call.stopping:
            return
        by_teacher: defaultdict[str, list[Request]] = defaultdict(list)
        for request in handed.requests:
            by_teacher[request.teacher].append(request)
        for name, requests in by_teacher.items():
            self._lanes[name].enqueue(call, requests)
        if handed.stranded:
            call.left += len(handed.stranded)
            call.settle([(r, buried(r, deaths[r.teacher])) for r in handed.stranded])
        call.replaced(count)

    def rest(self, names: Iterable[str]) -> None:
        """Close these teachers until their next request; none may be in work."""
        for name in names:
            lane = self._lanes[name]
            if isinstance(lane, Lane):
                self._submit(lane.rest()).result()

    def check(self) -> dict[str, Answer]:
        """Each teacher's answer to `check`: a line, or the error that says what to mend."""
        return self._submit(check_teachers(self._configs, _make)).result()

    async def _make_lanes(self, policy: RetryPolicy) -> None:
        for config in self._configs:
            self._lanes[config.name] = self._make_lane(config, policy)

    def _make_lane(self, config: TeacherConfig, policy: RetryPolicy) -> Lane | BatchLane:
        teachers = [_make(endpoint) for endpoint in config.endpoints()]
        if answers_batches(teachers[0]):
            return BatchLane(teachers[0], self._loop)
        if self._budget is not None:
            teachers = [self._budget.over(teacher) for teacher in teachers]
        return Lane(
            teachers,
            policy,
            self._loop,
            breaker=self._breaker,
            on_death=self._end_if_all_are_dead,
        )

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _submit(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        if self._closed:
            work.close()
            raise RuntimeError("the pool of teachers is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _bug_in_a_callback(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error in a timer or callback would otherwise leave its call waiting for ever."""
        error = context.get("exception")
        if "handle" in context and error is not None:
            for call in list(self._calls):
                call.fail(error)
        loop.default_exception_handler(context)

    def close(self) -> None:
        """End what is in progress, close the teachers and the loop. Safe to call twice."""
        if self._closed:
            return
        try:
            self._submit(self._close()).result()
        finally:
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        for call in list(self._calls):
            call.fail(InterruptedRunError("the pool of teachers was closed."))
            await call.settled()
        # All of them, also where one cannot be closed: a server may run for each.
        async with AsyncExitStack() as closing:
            for lane in self._lanes.values():
                closing.push_async_callback(lane.close)

    def __enter__(self) -> TeacherPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _make(config: TeacherConfig) -> Teacher:
    teacher: Teacher = registry.teachers.get(config.backend).plugin(config)
    return teacher


def _bury_all(requests: Sequence[Request], _: Deaths) -> Handed:
    return Handed([], requests)

"""The teachers of a run on one event loop in one thread, shared by all shard threads."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from types import TracebackType
from typing import Any, TypeVar

from arbitrage import registry
from arbitrage.config import TeacherConfig
from arbitrage.errors import ArbitrageError, InterruptedRunError, unknown_name
from arbitrage.infra.generation.call import Call, Sink
from arbitrage.infra.generation.counts import GenerationCounts
from arbitrage.infra.generation.lane import Lane
from arbitrage.infra.teachers.base import Request, Teacher
from arbitrage.infra.teachers.pacing import RetryPolicy

ResultT = TypeVar("ResultT")
Progress = Callable[[GenerationCounts], None]

_POLL_S = 0.05


class TeacherPool:
    """Sends requests to teachers; `complete` may be called from several threads at once.

    Each teacher's max_concurrency holds for all callers together; requests of the call that came
    first are sent first. A teacher is opened (connected, loaded) when its first request comes.

    Args:
        configs: the teachers of the run, with different names.
        policy: pauses between retries; how many is each teacher's max_retries.
        grace_s: how long requests in flight may still end once a call is asked to stop.

    Raises ConfigError where a teacher's config cannot work.
    """

    def __init__(
        self,
        configs: Sequence[TeacherConfig],
        *,
        policy: RetryPolicy | None = None,
        grace_s: float = 5.0,
    ) -> None:
        self._configs = list(configs)
        self._grace_s = grace_s
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._bug_in_a_callback)
        self._calls: set[Call] = set()
        self._lanes: dict[str, Lane] = {}
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

        Raises:
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
            self._watch(running, call, stop, progress)
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
    ) -> None:
        while True:
            if stop.is_set():
                self._loop.call_soon_threadsafe(call.stop, self._grace_s)
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
            await call.wait()
        finally:
            self._calls.discard(call)

    def check(self) -> dict[str, str | ArbitrageError]:
        """Each teacher's answer to `check`: a line, or the error that says what to mend."""
        return self._submit(self._check()).result()

    async def _check(self) -> dict[str, str | ArbitrageError]:
        answers = await asyncio.gather(*(_check_teacher(config) for config in self._configs))
        return dict(zip((config.name for config in self._configs), answers, strict=True))

    async def _make_lanes(self, policy: RetryPolicy) -> None:
        for config in self._configs:
            self._lanes[config.name] = Lane(_make(config), policy, self._loop)

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
        for lane in self._lanes.values():
            await lane.close()

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


async def _check_teacher(config: TeacherConfig) -> str | ArbitrageError:
    teacher = _make(config)
    try:
        return await teacher.check()
    except ArbitrageError as error:
        return error
    finally:
        await teacher.close()

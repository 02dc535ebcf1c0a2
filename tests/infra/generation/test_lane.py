"""A lane gives back every slot, however a request ends."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from arbitrage.config import TeacherConfig
from arbitrage.infra.generation.call import Call
from arbitrage.infra.generation.lane import Lane
from arbitrage.infra.teachers.base import Completion, Teacher, TeacherError, TeacherParams
from arbitrage.infra.teachers.breaker import BreakerPolicy
from arbitrage.infra.teachers.pacing import RetryPolicy


class Scripted(Teacher):
    """Answers after a moment, or fails as it was told."""

    Params: ClassVar[type[TeacherParams]] = TeacherParams

    def __init__(self, error: Exception | None = None) -> None:
        self.config = TeacherConfig(name="t", backend="openai", max_concurrency=3, max_retries=1)
        self.error = error

    async def generate(self, request):
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return [Completion(sample.index, text="x") for sample in request.samples]

    async def check(self):
        return "here"


def _lane(teacher: Scripted) -> tuple[Lane, Call]:
    loop = asyncio.get_running_loop()
    never_opens = BreakerPolicy(failures=10**9)
    lane = Lane([teacher], RetryPolicy(base_s=0.01), loop, breaker=never_opens)
    return lane, Call(lambda r, c: None, loop)


def test_requests_cancelled_before_their_first_step_give_back_their_slots(requests_for):
    async def scenario():
        lane, first = _lane(Scripted())
        lane.enqueue(first, [requests_for(0)])
        await first.wait()
        second = Call(first.sink, asyncio.get_running_loop())
        lane.enqueue(second, [requests_for(i) for i in range(9)])
        assert lane.endpoints[0].pacer.in_flight == 3
        second.fail(OSError("disk full"))
        with pytest.raises(OSError, match="disk full"):
            await second.wait()
        await asyncio.sleep(0)
        return lane.endpoints[0].pacer.in_flight, lane._alive

    assert asyncio.run(scenario()) == (0, 0)


@pytest.mark.parametrize(
    "error",
    [None, TeacherError("generate.timeout", "slow", transient=True), ZeroDivisionError("bug")],
)
def test_slots_and_pauses_are_given_back_after_any_end(error, requests_for):
    async def scenario():
        lane, call = _lane(Scripted(error))
        lane.enqueue(call, [requests_for(i) for i in range(9)])
        if isinstance(error, ZeroDivisionError):
            with pytest.raises(ZeroDivisionError):
                await call.wait()
        else:
            await call.wait()
            assert call.counts.finished == 9
        await asyncio.sleep(0)
        return lane.endpoints[0].pacer.in_flight, lane._alive, len(lane._pausing)

    assert asyncio.run(scenario()) == (0, 0, 0)


def test_a_stopped_call_gives_back_its_pauses_and_the_next_one_runs(requests_for):
    async def scenario():
        teacher = Scripted(TeacherError("generate.rate_limited", "busy", transient=True))
        lane, call = _lane(teacher)
        lane._policy = RetryPolicy(base_s=1e6, cap_s=1e6)
        lane.enqueue(call, [requests_for(i) for i in range(3)])
        async with asyncio.timeout(60):
            while len(lane._pausing) < 3:
                await asyncio.sleep(0.005)
        call.stop(0.0)
        await call.wait()
        assert (call.left, len(lane._pausing)) == (3, 0)
        teacher.error = None
        following = Call(call.sink, asyncio.get_running_loop())
        lane.enqueue(following, [requests_for(9)])
        await asyncio.wait_for(following.wait(), 60)
        return following.counts.succeeded

    assert asyncio.run(scenario()) == 1


class Together(Scripted):
    """Answers three requests at a time, all in one turn of the loop, and notes what happens."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self._waiting: list[asyncio.Future[None]] = []

    async def generate(self, request):
        self.events.append(f"sent {request.prompt_id}")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if len(self._waiting) == 3:
            waiting, self._waiting = self._waiting, []
            asyncio.get_running_loop().call_later(
                0.01, lambda: [one.set_result(None) for one in waiting]
            )
        await answer
        return [Completion(sample.index, text="x") for sample in request.samples]


def _noting(teacher: Together) -> tuple[Lane, Call]:
    lane, _ = _lane(teacher)
    return lane, Call(_sink(teacher), asyncio.get_running_loop())


def _sink(teacher: Together):
    return lambda request, _: teacher.events.append(f"kept {request.prompt_id}")


def test_a_freed_slot_is_sent_its_next_request_before_the_next_answer_is_read(requests_for):
    async def scenario():
        teacher = Together()
        lane, call = _noting(teacher)
        lane.enqueue(call, [requests_for(i) for i in range(6)])
        await call.wait()
        return teacher.events

    events = asyncio.run(scenario())
    assert events[:3] == ["sent p0", "sent p1", "sent p2"]
    assert events[3:9] == ["kept p0", "sent p3", "kept p1", "sent p4", "kept p2", "sent p5"]


def test_a_slot_goes_from_one_call_to_the_next_without_either_waiting(requests_for):
    async def scenario():
        teacher = Together()
        lane, first = _noting(teacher)
        second = Call(_sink(teacher), asyncio.get_running_loop())
        lane.enqueue(first, [requests_for(i) for i in range(4)])
        lane.enqueue(second, [requests_for(i) for i in range(4, 9)])
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 60)
        await asyncio.sleep(0)
        counts = (first.counts.succeeded, second.counts.succeeded)
        return counts, lane.endpoints[0].pacer.in_flight, lane._alive, lane._working

    assert asyncio.run(scenario()) == ((4, 5), 0, 0, {})


def test_a_slow_sink_holds_no_slot(requests_for):
    async def scenario():
        teacher = Scripted()
        lane, _ = _lane(teacher)
        room = asyncio.Event()

        async def wait(_request, _completions):
            await room.wait()

        call = Call(wait, asyncio.get_running_loop())
        lane.enqueue(call, [requests_for(i) for i in range(12)])
        async with asyncio.timeout(60):
            while call.counts.sent < 6 or lane.endpoints[0].pacer.in_flight:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # time for a seventh, were there one
        # All six tasks that may be alive wait at the sink, none with the server.
        held = (lane.endpoints[0].pacer.in_flight, lane._alive, call.counts.sent)
        room.set()
        await asyncio.wait_for(call.wait(), 60)
        return held, call.counts.succeeded

    held, succeeded = asyncio.run(scenario())
    assert held == (0, 6, 6)
    assert succeeded == 12

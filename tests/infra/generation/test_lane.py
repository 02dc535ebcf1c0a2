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
        await asyncio.sleep(0.05)
        assert len(lane._pausing) == 3
        call.stop(0.0)
        await call.wait()
        assert (call.left, len(lane._pausing)) == (3, 0)
        teacher.error = None
        following = Call(call.sink, asyncio.get_running_loop())
        lane.enqueue(following, [requests_for(9)])
        await asyncio.wait_for(following.wait(), 2)
        return following.counts.succeeded

    assert asyncio.run(scenario()) == 1

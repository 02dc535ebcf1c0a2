"""Endpoints that go down, come back, stall or die for good, on real sockets: nothing is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from arbitrage.infra.generation.death import AllTeachersDeadError, Handed
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.teachers.pacing import RetryPolicy

QUICK = RetryPolicy(base_s=0.01, cap_s=0.05)


class Dying:
    """A stand-in server that can be shut and started again on the same port."""

    def __init__(self, module, behaviour=None) -> None:
        self.module, self.behaviour = module, behaviour
        self.server = module.StandIn(behaviour)
        self.server.__enter__()
        self.up = True

    @property
    def base_url(self) -> str:
        return self.server.base_url

    def die(self) -> None:
        if self.up:
            self.up = False
            self.server.__exit__(None, None, None)

    def return_(self) -> None:
        port, stats = self.server.port, self.server.stats
        if self.behaviour is not None:
            self.behaviour.holds_after = None
        self.server = self.module.StandIn(self.behaviour, port=port)
        self.server.stats = stats
        self.server.__enter__()
        self.up = True


@pytest.fixture
def dying(stand_in):
    servers = []

    def make(**behaviour):
        servers.append(Dying(stand_in, stand_in.Behaviour(**behaviour)))
        return servers[-1]

    yield make
    for server in servers:
        server.die()


def _out_for(server, seconds) -> None:
    server.die()
    time.sleep(seconds)
    server.return_()


def _once_asked(server, requests, then) -> None:
    """Call `then` as soon as the server has seen so many requests, however fast they come."""
    stats = server.server.stats

    def wait() -> None:
        ends = time.monotonic() + 240
        while stats.requests < requests and time.monotonic() < ends:
            time.sleep(0.002)
        then()

    threading.Thread(target=wait, daemon=True).start()


def _complete(configs, requests, sink, **more):
    with TeacherPool(configs, policy=QUICK) as pool:
        return pool.complete(requests, sink, threading.Event(), **more)


def _ask_others(orphans, deaths):
    """Every orphan to the first living teacher of a, b, c."""
    living = next(name for name in "abc" if name not in deaths)
    return Handed([replace(request, teacher=living) for request in orphans], [])


def test_a_server_that_dies_and_comes_back_costs_only_retries(
    dying, openai_teacher, requests_for, collected
):
    server = dying(latency_s=0.02, holds_after=100)
    config = openai_teacher(server.base_url, max_concurrency=16, dead_after_s=60)
    _once_asked(server, 101, lambda: _out_for(server, 0.6))
    counts = _complete([config], [requests_for(i) for i in range(600)], collected)
    assert (counts.succeeded, counts.failed) == (600, 0)
    assert 0 < counts.retries < 100


def test_while_it_is_down_only_probes_are_sent(dying, openai_teacher, requests_for, collected):
    server = dying(latency_s=0.01, mode="server_error")
    config = openai_teacher(server.base_url, max_concurrency=8, dead_after_s=2, max_retries=9)
    with pytest.raises(AllTeachersDeadError, match="server_error") as caught:
        _complete([config], [requests_for(i) for i in range(500)], collected)
    assert server.server.stats.requests < 40
    assert caught.value.exit_code == 3
    assert "run the same command" in str(caught.value)
    assert not collected.by_id


def test_the_other_address_takes_what_a_dead_one_leaves(
    dying, openai_teacher, requests_for, collected
):
    first, second = dying(latency_s=0.02), dying(latency_s=0.02)
    config = openai_teacher(
        None, base_urls=[first.base_url, second.base_url], max_concurrency=8, dead_after_s=1
    )
    _once_asked(first, 60, first.die)
    counts = _complete([config], [requests_for(i) for i in range(500)], collected)
    assert (counts.succeeded, counts.failed) == (500, 0)
    assert first.server.stats.requests >= 60
    assert second.server.stats.peak <= 8


def test_addresses_are_asked_by_least_outstanding(dying, openai_teacher, requests_for, collected):
    fast, slow = dying(latency_s=0.01), dying(latency_s=1.0)
    urls = [slow.base_url, fast.base_url]
    config = openai_teacher(None, base_urls=urls, max_concurrency=4)
    _complete([config], [requests_for(i) for i in range(200)], collected)
    assert fast.server.stats.requests > 4 * slow.server.stats.requests
    assert fast.server.stats.connections <= 4


def test_a_dead_teachers_requests_go_where_they_are_handed(
    dying, openai_teacher, requests_for, collected
):
    servers = {name: dying(latency_s=0.02) for name in "abc"}
    servers["a"].behaviour.holds_after = 30
    configs = [
        openai_teacher(server.base_url, name=name, max_concurrency=8, dead_after_s=0.4)
        for name, server in servers.items()
    ]
    _once_asked(servers["a"], 31, servers["a"].die)
    asked = [requests_for(i, "abc"[i % 3], samples=2) for i in range(300)]
    counts = _complete(configs, asked, collected, hand_back=_ask_others)
    assert counts.requested == counts.succeeded == 600
    assert counts.by_teacher["b"] > 200
    assert len(collected.by_id) == 600


def test_without_anybody_to_take_them_they_fail_with_their_reason(
    dying, openai_teacher, requests_for, collected
):
    servers = {name: dying(latency_s=0.02) for name in "ab"}
    configs = [
        openai_teacher(server.base_url, name=name, max_concurrency=4, dead_after_s=0.4)
        for name, server in servers.items()
    ]
    servers["a"].die()
    asked = [requests_for(i, "ab"[i % 2]) for i in range(200)]
    counts = _complete(configs, asked, collected)
    assert (counts.succeeded, counts.failed) == (100, 100)
    assert counts.reasons["a", "generate.teacher_dead"] >= 90
    dead = [c for c in collected.by_id.values() if c.error == "generate.teacher_dead"]
    assert all(c.retryable and "connection" in c.detail for c in dead)


@pytest.mark.parametrize("addresses", [1, 2])
@pytest.mark.parametrize("retries", [0, 4])
def test_one_request_is_enough_to_learn_that_its_server_is_gone(  # noqa: PLR0917
    dying, openai_teacher, requests_for, collected, addresses, retries
):
    """Nothing listens at any address: with default pauses, and no count of failures to reach."""
    gone, lives = [dying() for _ in range(addresses)], dying()
    urls = [server.base_url for server in gone]
    configs = [
        openai_teacher(None, base_urls=urls, name="a", dead_after_s=0.5, max_retries=retries),
        openai_teacher(lives.base_url, name="b"),
    ]
    for server in gone:
        server.die()
    started = time.monotonic()
    with TeacherPool(configs) as pool:
        asked = [requests_for(0, "a", samples=2), *(requests_for(i, "b") for i in range(1, 9))]
        counts = pool.complete(asked, collected, threading.Event(), hand_back=_ask_others)
    assert time.monotonic() - started < 100
    assert (counts.succeeded, counts.failed) == (10, 0)
    assert counts.by_teacher == {"b": 10}
    assert counts.sent <= 9 + 8  # those of `b`, and a few probes


def test_a_server_lost_with_its_last_request_in_flight_is_soon_known_to_be_dead(
    dying, openai_teacher, requests_for, collected
):
    a, b = dying(latency_s=300.0), dying()
    configs = [
        openai_teacher(a.base_url, name="a", dead_after_s=0.5),
        openai_teacher(b.base_url, name="b"),
    ]
    _once_asked(a, 1, a.die)
    started = time.monotonic()
    with TeacherPool(configs) as pool:
        asked = [requests_for(0, "a"), requests_for(1, "b")]
        counts = pool.complete(asked, collected, threading.Event(), hand_back=_ask_others)
    assert time.monotonic() - started < 100
    assert (counts.succeeded, counts.failed) == (2, 0)
    assert counts.by_teacher == {"b": 2}


def test_a_refused_connection_in_between_costs_a_pause_and_nothing_else(
    dying, openai_teacher, requests_for, collected
):
    """A server that starts again refuses for a moment; with one request in flight too."""
    server = dying(latency_s=0.02)
    config = openai_teacher(server.base_url, max_concurrency=1, max_retries=1, dead_after_s=20)
    _once_asked(server, 10, lambda: _out_for(server, 0.5))
    counts = _complete([config], [requests_for(i) for i in range(50)], collected)
    assert (counts.succeeded, counts.failed) == (50, 0)


def test_all_dead_ends_every_call_with_what_is_finished_kept(
    dying, openai_teacher, requests_for, collected
):
    servers = {name: dying(latency_s=0.02) for name in "abc"}
    configs = [
        openai_teacher(server.base_url, name=name, max_concurrency=4, dead_after_s=0.4)
        for name, server in servers.items()
    ]
    for server in servers.values():
        _once_asked(server, 30, server.die)
    with TeacherPool(configs, policy=QUICK) as pool:
        for asked in (2000, 5):  # a call that comes later is told at once
            started = time.monotonic()
            with pytest.raises(AllTeachersDeadError, match="all teachers are dead"):
                pool.complete(
                    [requests_for(i, "abc"[i % 3]) for i in range(asked)],
                    collected,
                    threading.Event(),
                    hand_back=_ask_others,
                )
            assert time.monotonic() - started < 100
    finished = sum(server.server.stats.requests for server in servers.values())
    assert 0 < len(collected.by_id) <= finished


def test_a_server_that_takes_requests_and_ends_none_is_noticed(
    dying, openai_teacher, requests_for, collected
):
    hangs, works = dying(mode="hang"), dying(latency_s=0.02)
    urls = [hangs.base_url, works.base_url]
    config = openai_teacher(
        None, base_urls=urls, max_concurrency=4, timeout_s=600, stall_s=0.5, dead_after_s=1
    )
    started = time.monotonic()
    counts = _complete([config], [requests_for(i) for i in range(100)], collected)
    assert (counts.succeeded, counts.failed) == (100, 0)
    assert time.monotonic() - started < 100


def test_a_lone_server_that_hangs_dies_in_bounded_time(
    dying, openai_teacher, requests_for, collected
):
    server = dying(mode="hang")
    config = openai_teacher(
        server.base_url, max_concurrency=4, timeout_s=600, stall_s=0.4, dead_after_s=0.8
    )
    started = time.monotonic()
    with pytest.raises(AllTeachersDeadError, match=r"generate\.stalled"):
        _complete([config], [requests_for(i) for i in range(100)], collected)
    assert time.monotonic() - started < 100


def test_without_retries_left_a_stalled_request_fails_with_its_reason(
    dying, openai_teacher, requests_for, collected
):
    server = dying(mode="hang")
    config = openai_teacher(
        server.base_url, max_concurrency=4, timeout_s=600, stall_s=0.4, max_retries=0
    )
    counts = _complete([config], [requests_for(i) for i in range(4)], collected)
    assert counts.reasons == {("t", "generate.stalled"): 4}


def test_refusals_without_end_are_a_death_too(dying, openai_teacher, requests_for, collected):
    server = dying(mode="rate_limit")
    config = openai_teacher(
        server.base_url, max_concurrency=4, stall_s=1, dead_after_s=0.5, max_retries=100
    )
    started = time.monotonic()
    with pytest.raises(AllTeachersDeadError, match="rate_limited"):
        _complete([config], [requests_for(i) for i in range(100)], collected)
    assert time.monotonic() - started < 100


def test_a_slow_server_is_not_a_dead_one(dying, openai_teacher, requests_for, collected):
    """All of it takes longer than `stall_s`, no pause between two answers does."""
    server = dying(latency_s=1.2)
    config = openai_teacher(server.base_url, max_concurrency=8, stall_s=4.0, dead_after_s=0.3)
    counts = _complete([config], [requests_for(i) for i in range(32)], collected)
    assert (counts.succeeded, counts.retries) == (32, 0)


def test_overload_lowers_what_is_in_flight(dying, openai_teacher, requests_for, collected):
    server = dying(latency_s=0.02, mode="rate_limit", first=60)
    config = openai_teacher(server.base_url, max_concurrency=32, max_retries=50)

    async def scenario():
        with TeacherPool([config], policy=QUICK) as pool:
            lowest = []

            def progress(counts):
                lowest.append(pool._lanes["t"].endpoints[0].pacer.limit.value)

            wanted = [requests_for(i) for i in range(200)]
            counts = pool.complete(wanted, collected, threading.Event(), progress)
            return counts, min(lowest)

    counts, lowest = asyncio.run(scenario())
    assert (counts.succeeded, counts.retries) == (200, 60)
    assert lowest < 32


def test_requests_a_minute_hold_over_all_addresses(dying, openai_teacher, requests_for, collected):
    servers = [dying() for _ in range(2)]
    config = openai_teacher(
        None, base_urls=[server.base_url for server in servers], requests_per_minute=600
    )
    started = time.monotonic()
    _complete([config], [requests_for(i) for i in range(30)], collected)
    # 10 at once, the other 20 at 9.85 a second.
    assert time.monotonic() - started > 1.9


def test_tokens_a_minute_are_corrected_by_usage(dying, openai_teacher, requests_for, collected):
    server = dying(tokens=5)
    config = openai_teacher(
        server.base_url,
        tokens_per_minute=60_000,
        max_concurrency=1,
        sampling={"max_tokens": 990},
    )
    started = time.monotonic()
    _complete([config], [requests_for(i) for i in range(40)], collected)
    assert time.monotonic() - started < 30  # 40 reservations of 1,000 would take 40 s


def test_a_stop_while_a_teacher_is_down_ends_soon(dying, openai_teacher, requests_for, collected):
    from arbitrage.errors import InterruptedRunError

    server = dying(latency_s=0.02)
    config = openai_teacher(server.base_url, max_concurrency=4)
    stop = threading.Event()
    _once_asked(server, 10, server.die)
    threading.Timer(0.8, stop.set).start()
    with TeacherPool([config], policy=QUICK) as pool, pytest.raises(InterruptedRunError):
        pool.complete([requests_for(i) for i in range(1000)], collected, stop)

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError, InterruptedRunError, UnknownNameError
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.teachers.pacing import RetryPolicy


def test_two_threads_share_one_teachers_concurrency(stand_in, openai_teacher, requests_for):
    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.2)) as server:
        config = openai_teacher(server.base_url, max_concurrency=8)
        seen: list[set[str]] = [set(), set()]

        def shard(number: int) -> int:
            def sink(request, completions):
                seen[number].add(request.prompt_id)

            wanted = [requests_for(number * 1000 + i) for i in range(30)]
            return pool.complete(wanted, sink, threading.Event()).succeeded

        with TeacherPool([config]) as pool, ThreadPoolExecutor(2) as threads:
            assert list(threads.map(shard, range(2))) == [30, 30]
        assert server.stats.peak == 8
        assert server.stats.connections <= 8
    assert len(seen[0]) == len(seen[1]) == 30
    assert not seen[0] & seen[1]


def test_waiting_in_the_queue_is_no_timeout(stand_in, openai_teacher, requests_for, collected):
    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.9)) as server:
        config = openai_teacher(server.base_url, max_concurrency=1, timeout_s=4.5, max_retries=0)
        with TeacherPool([config]) as pool:
            wanted = [requests_for(i) for i in range(6)]
            counts = pool.complete(wanted, collected, threading.Event())
    assert (counts.succeeded, counts.failed) == (6, 0)


def test_a_slow_sink_pushes_back_and_keeps_tasks_bounded(stand_in, openai_teacher, requests_for):
    alive: list[int] = []

    async def slow(request, completions):
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
        alive.append(names.count("Lane._work"))
        await asyncio.sleep(0.01)

    with stand_in.StandIn() as server:
        config = openai_teacher(server.base_url, max_concurrency=4)
        with TeacherPool([config]) as pool:
            counts = pool.complete([requests_for(i) for i in range(100)], slow, threading.Event())
        assert server.stats.peak <= 4
    assert counts.succeeded == 100
    assert max(alive) <= 2 * 4


def test_stop_keeps_what_is_finished_and_ends_soon(
    stand_in, openai_teacher, requests_for, collected
):
    stop = threading.Event()

    def progress(counts):
        if counts.finished >= 4:
            stop.set()

    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.05)) as server:
        config = openai_teacher(server.base_url, max_concurrency=4)
        with TeacherPool([config]) as pool:
            wanted = [requests_for(i) for i in range(400)]
            with pytest.raises(InterruptedRunError, match="of 400 candidates"):
                pool.complete(wanted, collected, stop, progress)
            # What was in flight could end within the grace, so nothing paid for is lost.
            assert 4 <= len(collected.by_id) == server.stats.requests < 400


def test_stop_does_not_wait_for_a_server_that_hangs(
    stand_in, openai_teacher, requests_for, collected
):
    stop = threading.Event()
    with stand_in.StandIn(stand_in.Behaviour(mode="hang")) as server:
        config = openai_teacher(server.base_url, max_concurrency=4)
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with TeacherPool([config], grace_s=0.2) as pool, pytest.raises(InterruptedRunError):
            pool.complete([requests_for(i) for i in range(9)], collected, stop)
        assert time.monotonic() - started < 100
    assert not collected.by_id


def test_stop_does_not_wait_for_a_retry(stand_in, openai_teacher, requests_for, collected):
    stop = threading.Event()
    behaviour = stand_in.Behaviour(mode="rate_limit", retry_after="60")
    with stand_in.StandIn(behaviour) as server:
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with (
            TeacherPool([openai_teacher(server.base_url)]) as pool,
            pytest.raises(InterruptedRunError),
        ):
            pool.complete([requests_for(0)], collected, stop)
        assert time.monotonic() - started < 100


def test_a_sink_that_fails_ends_the_call_and_not_the_pool(
    stand_in, openai_teacher, requests_for, collected
):
    async def full(request, completions):
        raise OSError(28, "No space left on device")

    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.01)) as server:
        config = openai_teacher(server.base_url, max_concurrency=4)
        with TeacherPool([config]) as pool:
            with pytest.raises(OSError, match="No space left"):
                pool.complete([requests_for(i) for i in range(50)], full, threading.Event())
            assert server.stats.requests <= 12
            counts = pool.complete([requests_for(99)], collected, threading.Event())
            assert counts.succeeded == 1


def test_a_bug_in_a_backend_is_loud(stand_in, openai_teacher, requests_for, collected, monkeypatch):
    from arbitrage.infra.teachers import openai_compatible

    async def buggy(self, request):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(openai_compatible.OpenAICompatible, "generate", buggy)
    config = openai_teacher("http://127.0.0.1:9/v1")
    with TeacherPool([config]) as pool, pytest.raises(ZeroDivisionError):
        pool.complete([requests_for(0)], collected, threading.Event())


def test_a_lost_sample_is_loud(openai_teacher, requests_for, collected, monkeypatch):
    from arbitrage.infra.teachers import openai_compatible

    async def loses(self, request):
        return []

    monkeypatch.setattr(openai_compatible.OpenAICompatible, "generate", loses)
    config = openai_teacher("http://127.0.0.1:9/v1")
    with TeacherPool([config]) as pool, pytest.raises(RuntimeError, match=r"answered samples \[\]"):
        pool.complete([requests_for(0)], collected, threading.Event())


def test_an_unset_key_is_an_error_before_anything_is_sent(
    stand_in, openai_teacher, requests_for, collected, monkeypatch
):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with stand_in.StandIn() as server:
        config = openai_teacher(server.base_url, api_key_env="NO_SUCH_KEY")
        with TeacherPool([config]) as pool:
            with pytest.raises(ConfigError, match="export NO_SUCH_KEY="):
                pool.complete([requests_for(0)], collected, threading.Event())
            assert "NO_SUCH_KEY" in str(pool.check()["t"])
        assert server.stats.requests == 0


def test_unknown_teachers_and_wrong_addresses_are_said(openai_teacher, requests_for, collected):
    with (
        TeacherPool([openai_teacher("http://127.0.0.1:9/v1")]) as pool,
        pytest.raises(UnknownNameError, match='"other"'),
    ):
        pool.complete([requests_for(0, "other")], collected, threading.Event())
    for address in ("localhost:8000", None, "http://user:pass@localhost/v1"):
        with pytest.raises(ConfigError) as caught:
            TeacherPool([openai_teacher(address)])
        assert "pass@" not in str(caught.value)


def test_samples_of_a_server_that_ignores_n_are_asked_one_by_one(
    stand_in, openai_teacher, requests_for, collected
):
    with stand_in.StandIn(stand_in.Behaviour(ignores_n=True)) as server:
        config = openai_teacher(server.base_url, samples_per_request=1)
        with TeacherPool([config]) as pool:
            counts = pool.complete([requests_for(1, samples=3)], collected, threading.Event())
        assert server.stats.requests == counts.sent == counts.succeeded == 3
    assert len({completion.text for completion in collected.by_id.values()}) > 1
    assert all(completion.completion_tokens == 8 for completion in collected.by_id.values())


def test_the_check_names_the_models_that_are_served(stand_in, openai_teacher):
    with stand_in.StandIn(stand_in.Behaviour(models=["a", "b"])) as server:
        right = openai_teacher(server.base_url, model="b", name="right")
        wrong = openai_teacher(server.base_url, model="c", name="wrong")
        bare = openai_teacher("http://127.0.0.1:9/v1", name="bare")
        with TeacherPool([right, wrong, bare]) as pool:
            lines = {name: str(line) for name, line in pool.check().items()}
    assert 'serves "b"' in lines["right"]
    assert "it serves a, b." in lines["wrong"]
    assert "Start the server" in lines["bare"]


def test_counts_and_costs_add_up_and_an_empty_call_ends(
    stand_in, openai_teacher, requests_for, collected
):
    with stand_in.StandIn() as server:
        config = openai_teacher(
            server.base_url, cost_per_million_tokens=2.0, sampling={"logprobs": True}
        )
        with TeacherPool([config]) as pool:
            assert pool.complete([], collected, threading.Event()).requested == 0
            counts = pool.complete([requests_for(1, samples=2)], collected, threading.Event())
    assert counts.completion_tokens == 16
    assert counts.cost_usd == pytest.approx(16 * 2 / 1e6)
    for completion in collected.by_id.values():
        assert completion.sum_logprob == pytest.approx(-2.0)
        assert completion.latency_ms > 0


def test_a_closed_pool_says_so(requests_for, collected):
    config = TeacherConfig(name="t", backend="openai", base_url="http://127.0.0.1:9/v1")
    pool = TeacherPool([config], policy=RetryPolicy())
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.complete([requests_for(0)], collected, threading.Event())


def test_a_teacher_that_cannot_be_closed_keeps_no_other_open(openai_teacher, monkeypatch):
    closed = []
    pool = TeacherPool([openai_teacher("http://127.0.0.1:9/v1", name=name) for name in "abc"])

    def closing(name):
        async def close():
            closed.append(name)
            if name == "b":
                raise OSError("it does not end")

        return close

    for name, lane in pool._lanes.items():
        monkeypatch.setattr(lane, "close", closing(name))
    with pytest.raises(OSError, match="it does not end"):
        pool.close()
    assert sorted(closed) == ["a", "b", "c"]

"""The `vllm` backend with a fake server program: real processes, real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import runs, starts

from arbitrage import registry
from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.teachers.base import Request, Sample
from arbitrage.infra.teachers.devices import Devices
from arbitrage.infra.teachers.pacing import RetryPolicy
from arbitrage.infra.teachers.vllm import Vllm

TESTS = Path(__file__).resolve().parents[2]
FAKE = [sys.executable, str(TESTS / "fake_vllm.py"), "serve"]
QUICK = RetryPolicy(base_s=0.01, cap_s=0.02)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "starts.jsonl"


@pytest.fixture
def teacher(record: Path, tmp_path: Path) -> Callable[..., TeacherConfig]:
    """A TeacherConfig whose server is the fake; further words are its arguments."""

    def make(*arguments: str, **more: Any) -> TeacherConfig:
        given = {
            "name": "t",
            "backend": "vllm",
            "model": "tiny",
            "command": FAKE,
            "serving_arguments": ["--record", str(record), *arguments],
            "startup_timeout_s": 200,
            "stop_grace_s": 5,
            "log_folder": str(tmp_path / "logs"),
        }
        return TeacherConfig.model_validate(given | more)

    return make


TEXTS = ["ما هي عاصمة تركيا؟", "तुर्की की राजधानी", "トルコの首都", "กรุงเทพ", "Türkiye 🇹🇷", "土耳其"]


def requests(count: int, teacher: str = "t") -> list[Request]:
    return [
        Request(
            f"p{i}",
            "tr",
            teacher,
            (("user", f"{TEXTS[i % len(TEXTS)]} {i}"),),
            (Sample(0, f"c{i}-0", i), Sample(1, f"c{i}-1", i)),
        )
        for i in range(count)
    ]


def ask(config: TeacherConfig, count: int = 6) -> tuple[Any, list[Any]]:
    """Send so many requests through a pool; its counts and what it gave."""
    got: list[Any] = []
    with TeacherPool([config], policy=QUICK) as pool:
        counts = pool.complete(requests(count), lambda r, c: got.extend(c), threading.Event())
    return counts, got


def wait_for(condition: Callable[[], Any], seconds: float = 200.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def gone(one: dict[str, Any]) -> bool:
    return not runs(one["pid"]) and not runs(one["child"])


def test_it_is_registered_and_needs_a_model() -> None:
    assert registry.teachers.get("vllm").plugin is Vllm
    config = TeacherConfig.model_validate({"name": "t", "backend": "vllm"})
    with pytest.raises(ConfigError, match="no model"):
        Vllm(config)


def test_it_starts_once_answers_and_leaves_no_process_behind(teacher, record) -> None:
    counts, got = ask(teacher("--delay", "0.3"))
    assert counts.succeeded == counts.requested == 12
    assert all(completion.text and completion.error is None for completion in got)
    (start,) = starts(record)
    assert start["arguments"][:2] == ["serve", "tiny"]
    assert gone(start)


def test_a_command_that_is_no_serve_gets_the_model_as_an_option(teacher) -> None:
    launch = Vllm(teacher(command=["python", "-m", "server"]))._described(Path("x"))
    assert launch.command[:5] == ("python", "-m", "server", "--model", "tiny")


def test_a_crash_at_start_shows_the_last_lines_of_the_log(teacher, record, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        ask(teacher("--crash-at-start", "9", "--big-log", "4000000"))
    said = str(caught.value)
    assert "ended with status 3" in said
    assert "RuntimeError: not enough GPU memory" in said
    assert str(tmp_path / "logs" / "t.log") in said
    assert len(said) < 8000
    assert len(starts(record)) == 1
    assert gone(starts(record)[0])


def test_a_log_without_a_folder_of_its_own_is_kept_after_a_failure_only(teacher, monkeypatch):
    def folders() -> list[Path]:
        return list(Path(scratch).iterdir())

    scratch = teacher().params.log_folder + "-tmp"
    Path(scratch).mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", scratch)
    ask(teacher(log_folder=None))
    assert folders() == []
    with pytest.raises(ConfigError):
        ask(teacher("--crash-at-start", "9", log_folder=None))
    assert "not enough GPU memory" in next(folders()[0].glob("t.log")).read_text()


def test_secrets_are_cut_out_of_the_shown_log(teacher, monkeypatch) -> None:
    monkeypatch.setenv("MY_HF", "hf_verysecret123")
    config = teacher(
        *("--say", "token", "--say-variable", "HF_TOKEN", "--crash-at-start", "1"),
        environment={"HF_TOKEN": "$MY_HF"},
    )
    with pytest.raises(ConfigError) as caught:
        ask(config)
    assert "token [HF_TOKEN]" in str(caught.value)
    assert "verysecret" not in str(caught.value)
    assert "verysecret" not in str(config)


def test_a_variable_that_is_not_set_is_named(teacher, monkeypatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ConfigError, match=r"NOT_THERE.*is not set.*export NOT_THERE"):
        ask(teacher(environment={"X": "$NOT_THERE"}))


def test_a_key_guards_the_server(teacher, record, monkeypatch) -> None:
    monkeypatch.setenv("OUR_KEY", "sk-local-1234567")
    counts, _ = ask(teacher(api_key_env="OUR_KEY"))
    assert counts.failed == 0
    assert starts(record)[0]["key"] == "sk-local-1234567"


def test_our_own_vllm_api_key_does_not_reach_a_server_without_one(teacher, record, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "sk-for-something-else")
    assert ask(teacher())[0].failed == 0
    assert starts(record)[0]["key"] is None


def test_a_server_that_is_never_ready_is_stopped_in_time(teacher, record) -> None:
    with pytest.raises(ConfigError, match=r"not ready within startup_timeout_s = 0.8"):
        ask(teacher("--never-ready", startup_timeout_s=0.8))
    assert all(gone(one) for one in starts(record))  # none, where it had no time to begin


def test_a_server_of_another_model_is_refused_at_once(teacher, record) -> None:
    started = time.monotonic()
    with pytest.raises(Exception, match=r'does not serve "tiny"; it serves other'):
        ask(teacher("--serves", "other"))
    assert time.monotonic() - started < 190  # not as long as one that is never ready
    assert gone(starts(record)[0])


def test_a_port_in_use_is_said_before_anything_starts(teacher, record) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} .* in use.*base_url"):
            ask(teacher(port=port))
    assert starts(record) == []


def test_a_free_port_that_was_taken_meanwhile_is_tried_again_elsewhere(teacher, record) -> None:
    assert ask(teacher("--taken", "1"))[0].failed == 0
    first, second = starts(record)
    assert first["port"] != second["port"]


def test_a_command_that_is_not_there_is_said_with_the_mend(teacher) -> None:
    with pytest.raises(ConfigError, match=r'"no-such-vllm".*Install vLLM, set command'):
        ask(teacher(command=["no-such-vllm", "serve"]))


def test_a_crash_in_mid_run_starts_it_again_and_loses_nothing(teacher, record) -> None:
    counts, got = ask(teacher("--crash-after", "3", max_concurrency=4), count=20)
    assert counts.succeeded == 40
    assert len({id(completion) for completion in got}) == 40
    assert len(starts(record)) == 2
    assert all(gone(one) for one in starts(record))
    assert all(one["beside"] == [] for one in starts(record))


def test_a_crash_while_starting_again_costs_one_restart_more(teacher, record) -> None:
    config = teacher("--crash-after", "3", "--faulty-starts", "2", max_concurrency=1)
    assert ask(config, count=10)[0].succeeded == 20
    assert len(starts(record)) == 3


def test_a_server_that_hangs_is_started_again(teacher, record) -> None:
    config = teacher("--hang-after", "2", stall_s=3.0, timeout_s=300)
    assert ask(config, count=8)[0].succeeded == 16
    assert len(starts(record)) == 2


def test_once_its_restarts_are_used_the_teacher_is_dead_and_the_run_ends(teacher, record) -> None:
    config = teacher(
        *("--crash-after", "0", "--faulty-starts", "99"),
        restarts=2,
        dead_after_s=1.0,
        max_concurrency=2,
    )
    with pytest.raises(
        Exception, match=r"dead.*(restarts = 2 are used|ended with status 7.*illegal memory)"
    ):
        ask(config, count=1)
    assert len(starts(record)) == 3
    assert all(gone(one) for one in starts(record))


def test_one_that_ignores_sigterm_is_killed_after_the_grace(teacher, record) -> None:
    ask(teacher("--ignore-term", stop_grace_s=0.5))
    assert gone(starts(record)[0])


def test_no_zombie_stays_with_us(teacher) -> None:
    def zombies() -> list[str]:
        stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
        told = [stat.rpartition(")")[2].split() for stat in stats]
        return [state for state, parent, *_ in told if state == "Z" and parent == str(os.getpid())]

    ask(teacher("--crash-after", "3"))
    assert zombies() == []


def test_a_stop_while_it_loads_ends_at_once_and_leaves_nothing(teacher, record) -> None:
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    with (
        pytest.raises(Exception, match="stopped with 0 of"),
        TeacherPool([teacher("--never-ready")], policy=QUICK) as pool,
    ):
        pool.complete(requests(2), lambda r, c: None, stop)
    assert all(gone(one) for one in starts(record))  # none, where it had no time to begin


def test_the_log_is_cut_before_it_fills_the_disk(teacher, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("arbitrage.infra.teachers.vllm._LONGEST_LOG_BYTES", 100_000)
    monkeypatch.setattr("arbitrage.infra.teachers.vllm._WATCH_S", 0.05)

    async def scenario() -> None:
        one = Vllm(teacher("--big-log", "3000000"))
        await one.open()
        log = tmp_path / "logs" / "t.log"
        async with asyncio.timeout(60):
            while log.stat().st_size > 100_000:
                await asyncio.sleep(0.02)
        await one.close()
        assert "startup complete" in (tmp_path / "logs" / "t.log.1").read_text()

    asyncio.run(scenario())


PARENT = """
import asyncio, json, sys, time
from arbitrage.config import TeacherConfig
from arbitrage.infra.teachers.vllm import Vllm

async def main():
    one = Vllm(TeacherConfig.model_validate(json.loads(sys.argv[1])))
    await one.open()
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("arguments", [[], ["--ignore-term"]])
def test_a_parent_killed_with_sigkill_takes_its_server_with_it(teacher, record, arguments) -> None:
    config = teacher(*arguments, stop_grace_s=0.5).model_dump_json(exclude_none=True)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, config],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert not gone(starts(record)[0])
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    wait_for(lambda: gone(starts(record)[0]))


def test_its_server_dies_with_a_killed_supervisor_too(teacher, record) -> None:
    async def scenario() -> None:
        one = Vllm(teacher(restarts=0))
        await one.open()
        assert one._server is not None
        os.kill(one._server.process.pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await one.close()

    asyncio.run(scenario())
    start = starts(record)[0]
    wait_for(lambda: not runs(start["pid"]))
    os.kill(start["child"], signal.SIGKILL)  # no supervisor was left to end it


def test_with_base_url_it_attaches_and_neither_starts_nor_stops_anything(teacher, record) -> None:
    from stand_in_server import Behaviour, StandIn

    with StandIn(Behaviour(models=["tiny"])) as server:
        counts, _ = ask(teacher(base_url=server.base_url))
        assert counts.succeeded == 12
        assert server.stats.requests == 6
    assert starts(record) == []


def test_check_says_what_it_would_start_and_what_is_missing(teacher) -> None:
    async def check(config: TeacherConfig) -> str:
        one = Vllm(config)
        try:
            return await one.check()
        finally:
            await one.close()

    assert "fake_vllm.py serve tiny" in asyncio.run(check(teacher()))
    with pytest.raises(ConfigError, match="is not there"):
        asyncio.run(check(teacher(command=["no-such-vllm", "serve"])))


def test_two_teachers_never_hold_one_device(teacher, record) -> None:
    async def scenario() -> None:
        first = Vllm(teacher(exclusive="gpu0"))
        second = Vllm(teacher(exclusive="gpu0", name="u"))
        await first.open()
        with pytest.raises(ConfigError, match='"gpu0" is in use by the teacher "t"'):
            await second.open()
        await first.close()
        await second.open()
        await second.close()

    asyncio.run(scenario())
    assert [one["beside"] for one in starts(record)] == [[], []]


def test_a_watch_that_failed_leaves_no_server_behind(
    teacher: Callable[..., TeacherConfig], record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise OSError("no space left on device")

    async def open_and_close() -> None:
        one = Vllm(teacher(exclusive="gpu"))
        await one.open()
        assert one._watching is not None
        one._watching.cancel()
        one._watching = asyncio.create_task(fail())
        await asyncio.wait([one._watching])
        await one.close()

    asyncio.run(open_and_close())
    assert "no space left on device" in caplog.text
    wait_for(lambda: not runs(starts(record)[0]["pid"]))
    assert not Devices._users

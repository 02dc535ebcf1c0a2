"""Kill it, stop it, fill its disk, run it twice: the same rows, none lost and none twice."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.verify import verify_run

PROMPTS = 60
CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class Place:
    """One config whose teacher is a stand-in server, and how to start it in a child process."""

    configs: ModuleType
    server: Any
    folder: Path
    data: dict[str, Any]
    api_url: str
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def arguments(self, output: Path, *more: str | Path) -> list[str | Path]:
        return ["run", self.folder / "run.toml", "--set", f"run.output={output}", *more]

    def start(self, output: Path, *more: str | Path, own_server: bool = False, **options: Any):
        env = self.configs.environment(None if own_server else self.api_url)
        arguments = self.arguments(output, *more)
        self.children.append(self.configs.start(arguments, self.folder, env, **options))
        return self.children[-1]

    def run(self, output: Path, *more: str | Path) -> tuple[int, str, str]:
        return self.configs.finish(self.start(output, *more))

    def sent(self) -> int:
        return self.server.stats.requests


@pytest.fixture(scope="module")
def place(
    run_configs: ModuleType,
    stand_in: ModuleType,
    api_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("served")
    with stand_in.StandIn(stand_in.Behaviour(latency_s=0.05)) as server:
        data = run_configs.served_data(folder, server.base_url, prompts=PROMPTS)
        run_configs.write_toml(folder / "run.toml", data)
        yield Place(run_configs, server, folder, data, api_url)


@pytest.fixture(autouse=True)
def _no_child_is_left(place: Place) -> Iterator[None]:
    yield
    place.configs.end_all(place.children)


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict[str, list[dict[str, Any]]]:
    """The rows of the config when nothing happens to it."""
    from arbitrage.flows.distill import distill

    config = place.configs.parsed(place.data, run__output=str(place.folder / "undisturbed"))
    return place.configs.stable_rows(Path(distill(config, run_id="undisturbed")))


@pytest.fixture
def slow(place: Place) -> Iterator[None]:
    place.server.behaviour.latency_s = 0.3
    yield
    place.server.behaviour.latency_s = 0.05


def the_run(output: Path) -> Path:
    (path,) = output.iterdir()
    return path


# tests/infra/store/test_run.py goes on after every step; here the process really dies.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "generating": lambda out: any(
        file.stat().st_size for file in out.glob(f"*/{layout.WORK}/journal/*/*.frames")
    ),
    "deciding": lambda out: any(out.glob(f"*/{layout.MOMENTS}")),
    "views": lambda out: any(out.glob(f"*/{layout.VIEWS}")),
}


def kill_at(place: Place, moment: str, output: Path) -> int:
    """Kill a run at a moment; what had been sent before it began. On a machine that does something
    else for a second the run may be over by then: once more, from nothing."""
    while True:
        before = place.sent()
        process = place.start(output)
        while process.poll() is None and not MOMENTS[moment](output):
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate()
        if not list(output.glob("*/manifest.json")):
            assert process.returncode == -signal.SIGKILL, err
            return before
        shutil.rmtree(the_run(output))


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_kill_9_a_second_run_gives_the_same_rows(
    place: Place, undisturbed: dict[str, Any], tmp_path: Path, moment: str
) -> None:
    before = kill_at(place, moment, tmp_path)
    code, out, err = place.run(tmp_path)
    assert code == 0, err
    assert f"continuing the unfinished run {the_run(tmp_path)}" in err
    assert out.splitlines()[-1] == str(the_run(tmp_path))
    assert verify_run(the_run(tmp_path)).problems == []
    assert place.configs.stable_rows(the_run(tmp_path)) == undisturbed
    # In flight at the kill, and what one commit group held in the milliseconds of its fsync.
    assert PROMPTS <= place.sent() - before <= PROMPTS + 2 * CONCURRENCY


def test_ctrl_c_on_a_terminal_saves_the_work_and_says_how_to_go_on(
    place: Place, undisturbed: dict[str, Any], slow: None, tmp_path: Path
) -> None:
    """A terminal sends it to the whole process group, so to Prefect's temporary server too."""
    process = place.start(tmp_path, "--new", own_server=True)
    place.configs.wait_until(lambda: MOMENTS["generating"](tmp_path), process)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = place.configs.finish(process)
    assert code == 130
    assert_one_sentence(err)
    continued = shlex.split(err.splitlines()[-1].partition("Continue with: arbitrage ")[2])
    assert "--new" not in continued
    process = place.configs.start(continued, place.folder, place.configs.environment(place.api_url))
    code, _, err = place.configs.finish(process)
    assert code == 0, err
    assert place.configs.stable_rows(the_run(tmp_path)) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_generation_saves_the_work(
    place: Place, undisturbed: dict[str, Any], slow: None, tmp_path: Path, number: signal.Signals
) -> None:
    before = place.sent()
    process = place.start(tmp_path)
    place.configs.wait_until(lambda: MOMENTS["generating"](tmp_path), process)
    process.send_signal(number)
    code, _, err = place.configs.finish(process)
    assert code == 130
    assert_one_sentence(err)
    place.server.behaviour.latency_s = 0.05
    code, _, err = place.run(tmp_path)
    assert code == 0, err
    assert place.configs.stable_rows(the_run(tmp_path)) == undisturbed
    # What was in flight had time to end, so nothing is asked twice.
    assert place.sent() - before == PROMPTS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_prompt_is_no_traceback(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    process = place.start(tmp_path)
    assert process.stderr is not None
    while "loading Prefect" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    code, _, err = place.configs.finish(process)
    assert code == 130
    assert "Traceback" not in err
    assert "Continue with: arbitrage run " in err


def assert_one_sentence(err: str) -> None:
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert lines == err.splitlines()[-1:]
    assert "everything finished is saved. Continue with: arbitrage run " in lines[0]


def test_a_second_process_is_told_who_holds_the_run(
    place: Place, slow: None, tmp_path: Path
) -> None:
    place.server.behaviour.latency_s = 1.5
    first = place.start(tmp_path, "--run-id", "held")
    place.configs.wait_until(lambda: MOMENTS["generating"](tmp_path), first)
    os.killpg(first.pid, signal.SIGSTOP)  # however long the second one takes to begin
    code, _, err = place.run(tmp_path)
    os.killpg(first.pid, signal.SIGCONT)
    assert code == 2
    assert "Traceback" not in err
    assert f"is being written by process {first.pid} on " in err
    place.server.behaviour.latency_s = 0.0
    code, _, err = place.configs.finish(first)
    assert code == 0, err
    assert verify_run(tmp_path / "held").ok


@pytest.mark.parametrize("limit", [1_500, 3_500, 6_000])  # the first: not even its config fits
def test_a_full_disk_is_one_clear_error_and_loses_nothing(
    place: Place, undisturbed: dict[str, Any], tmp_path: Path, limit: int
) -> None:
    """A limit on the size of a file fails a write as a full disk does, also for root."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, _, err = place.configs.finish(place.start(tmp_path, preexec_fn=small_files))
    assert code == 2
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "cannot be written: File too large" in line
    assert "then run the same command" in line
    assert list(tmp_path.glob("*/manifest.json")) == []
    code, _, err = place.run(tmp_path)
    assert code == 0, err
    assert place.configs.stable_rows(the_run(tmp_path)) == undisturbed


def test_without_a_living_teacher_it_says_how_to_go_on_and_does(
    place: Place, undisturbed: dict[str, Any], stand_in: ModuleType, tmp_path: Path
) -> None:
    """The server is lost in mid-run: exit 3, one sentence, and the command that completes it."""
    lost = stand_in.StandIn(stand_in.Behaviour(latency_s=0.1))
    with lost:
        moved = f"teachers.served.base_url={lost.base_url}"
        stopped = place.start(tmp_path, "--set", moved, "--set", "teachers.served.dead_after_s=1")
        place.configs.wait_until(lambda: lost.stats.requests > 12, stopped)
    code, out, err = place.configs.finish(stopped)
    assert code == 3, err
    assert "Traceback" not in out + err
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert 'the teacher of this run is dead: "served" (generate.connection: ' in said
    assert "What is finished is saved." in said
    answered = lost.stats.requests
    (mend,) = [line for line in err.splitlines() if "continue with: " in line]
    program, *command = shlex.split(mend.split("continue with: ")[1])
    assert program == "arbitrage"
    assert list(tmp_path.glob("*/manifest.json")) == []
    with stand_in.StandIn(port=lost.port) as back:
        code, _, err = place.configs.finish(
            place.configs.start(command, place.folder, place.configs.environment(place.api_url))
        )
        assert code == 0, err
        # What was answered is not asked again, but for what was in flight or not yet saved.
        assert back.stats.requests <= PROMPTS - answered + 2 * CONCURRENCY
    assert verify_run(the_run(tmp_path)).problems == []
    assert open_run(the_run(tmp_path)).manifest["deaths"] == []
    assert place.configs.stable_rows(the_run(tmp_path)) == undisturbed


def test_failures_beyond_the_tolerated_share_are_a_shortfall_that_is_said(
    place: Place, stand_in: ModuleType, tmp_path: Path
) -> None:
    with stand_in.StandIn(stand_in.Behaviour(mode="too_long")) as refusing:
        address = f"teachers.served.base_url={refusing.base_url}"
        code, out, err = place.run(tmp_path, "--set", address)
    assert code == 3
    assert "Traceback" not in err
    assert f"shortfall: {PROMPTS} of {PROMPTS} requested candidates failed" in err
    assert out.splitlines()[-1] == str(the_run(tmp_path))
    opened = open_run(the_run(tmp_path))
    reasons = opened.graveyard.explode("reasons").collect()["reasons"].unique().to_list()
    assert len(reasons) == 1
    assert reasons[0].startswith("generate.")
    assert verify_run(opened.path).ok

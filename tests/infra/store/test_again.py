"""Deciding again, beside a run and in place; an in-place one may be killed at any moment."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.errors import ConfigError, RunConflictError
from arbitrage.flows.redecide import redecide
from arbitrage.infra.store import open_run
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.swap import replace_decisions
from arbitrage.infra.store.verify import verify_run

STRICTER = ["filters.length.min_words=11"]


class Killed(BaseException):
    """What `kill -9` would be, if a test could catch it."""


@pytest.fixture
def redecided(finished: Path, run_configs: ModuleType) -> dict[str, Any]:
    """The rows that a re-decision gives when nothing happens to it."""
    path = redecide(finished, overrides=STRICTER, run_id="beside")
    rows = run_configs.stable_rows(path)
    shutil.rmtree(path)
    return rows


def test_beside_the_run_nothing_of_it_changes(finished: Path, run_configs: ModuleType) -> None:
    before = run_configs.stable_rows(finished)
    path = redecide(finished, overrides=STRICTER, run_id="beside")
    assert path == finished.parent / "beside"
    assert run_configs.stable_rows(finished) == before
    assert verify_run(finished).ok
    assert verify_run(path).ok
    again = open_run(path).manifest
    assert again["decided_from"] == "finished"
    assert again["totals"]["requested"] == open_run(finished).manifest["totals"]["requested"]
    assert again["totals"]["kept"] < open_run(finished).manifest["totals"]["kept"]


def test_deciding_again_with_the_same_config_gives_the_same_rows(
    finished: Path, run_configs: ModuleType
) -> None:
    path = redecide(finished, run_id="same")
    assert run_configs.stable_rows(path) == run_configs.stable_rows(finished)


def test_in_place_and_beside_give_the_same_rows(
    finished: Path, run_configs: ModuleType, redecided: dict[str, Any]
) -> None:
    assert redecide(finished, overrides=STRICTER, in_place=True) == finished
    assert run_configs.stable_rows(finished) == redecided
    assert verify_run(finished).problems == []
    assert not (finished / ".staged").exists()


def test_the_old_run_may_be_removed_after_the_new_one_is_made(finished: Path) -> None:
    """Prompts are linked, not referred to."""
    path = redecide(finished, overrides=STRICTER, run_id="beside")
    shutil.rmtree(finished)
    assert verify_run(path).ok


def test_a_filter_that_was_never_measured_is_measured_from_the_stored_texts(
    finished: Path,
) -> None:
    path = redecide(finished, overrides=["filters.toxicity={}"], run_id="more")
    toxicity = open_run(path).candidates.select("toxicity.toxicity").collect()
    assert toxicity.null_count().item() < toxicity.height


def test_the_deaths_of_the_run_are_told_again(tmp_path: Path, run_configs: ModuleType) -> None:
    stand_in = importlib.import_module("stand_in_server")
    with stand_in.StandIn() as gone:
        nobody = gone.base_url
    with stand_in.StandIn() as server:
        data = run_configs.served_data(tmp_path, server.base_url, prompts=20)
        (lives,) = data["teachers"]
        dead = {**lives, "name": "gone", "base_url": nobody, "dead_after_s": 0.2}
        data |= {"teachers": [lives, dead], "router": {"kind": "uniform"}}
        finished = open_run(run_configs.run_steps(run_configs.parsed(data), "with-a-death"))
    (death,) = finished.manifest["deaths"]
    assert (death["teacher"], death["failed"]) == ("gone", 0)
    assert death["rerouted"] > 0
    path = redecide(finished.path, overrides=["filters.length.min_words=3"], run_id="beside")
    assert open_run(path).manifest["deaths"] == [death]
    redecide(path, overrides=["filters.length.min_words=4"], in_place=True)
    assert open_run(path).manifest["deaths"] == [death]
    assert verify_run(path).problems == []


@pytest.mark.parametrize("move", range(8))
def test_an_in_place_decision_that_was_killed_between_two_moves_is_finished_by_the_next_reader(
    finished: Path,
    run_configs: ModuleType,
    redecided: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    move: int,
) -> None:
    """Seven moves: four parts, the views, two renderings and last the manifest."""
    moved = 0
    replace = Path.replace

    def counted(self: Path, target: Path) -> Path:
        nonlocal moved
        if ".staged" in self.parts and Path(target).parent == finished:
            if moved == move:
                raise Killed
            moved += 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", counted)
    with pytest.raises(Killed):
        redecide(finished, overrides=STRICTER, in_place=True)
    monkeypatch.undo()
    assert moved == move
    assert verify_run(finished).problems == []
    assert run_configs.stable_rows(finished) == redecided
    assert not (finished / ".staged").exists()


def test_an_in_place_decision_that_was_killed_before_it_was_ready_changes_nothing(
    finished: Path, run_configs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_configs.stable_rows(finished)

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr("arbitrage.flows.redecide.replace_decisions", killed)
    with pytest.raises(Killed):
        redecide(finished, overrides=STRICTER, in_place=True)
    monkeypatch.undo()
    assert verify_run(finished).problems == []
    assert run_configs.stable_rows(finished) == before
    redecide(finished, overrides=STRICTER, in_place=True)
    assert verify_run(finished).ok


def test_a_reader_that_comes_as_an_in_place_decision_ends_has_nothing_to_finish(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(finished)
    folder.write_bytes(".staged/ready", b"beside")
    acquire = RunLock.acquire

    def after_its_process(self: RunLock) -> None:
        folder.remove(".staged")  # the last thing that one does before it lets go of the lock
        acquire(self)

    monkeypatch.setattr(RunLock, "acquire", after_its_process)
    assert open_run(finished).shards
    assert not (finished / ".lock").exists()


def test_a_manifest_is_there_throughout_an_in_place_decision(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = []
    removing = Folder.remove

    def told(self: Folder, *names: str) -> None:
        gone.extend(name for name in names if self.root == finished)
        removing(self, *names)

    monkeypatch.setattr(Folder, "remove", told)
    redecide(finished, overrides=STRICTER, in_place=True)
    assert "candidates" in gone
    assert "manifest.json" not in gone


def test_views_that_a_decision_in_place_leaves_out_are_gone(finished: Path) -> None:
    redecide(finished, overrides=["views={}"], in_place=True)
    assert verify_run(finished).problems == []
    assert not open_run(finished).manifest["views"]


def test_what_servers_answered_for_a_decision_in_place_stays_with_the_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they left a question open: the others are paid for, and are not asked again with it."""
    kept = finished / ".unanswered/00000"
    kept.mkdir(parents=True)
    (kept / "00000.lines").write_bytes(b"of the run itself")

    def with_answers(folder: Folder, decided: Path) -> None:
        shutil.copytree(finished / ".unanswered", decided / ".unanswered")
        for shard in ("00000", "00002"):
            (decided / f".unanswered/{shard}").mkdir(exist_ok=True)
            (decided / f".unanswered/{shard}/00007.lines").write_bytes(b"of the decision")
        replace_decisions(folder, decided)

    monkeypatch.setattr("arbitrage.flows.redecide.replace_decisions", with_answers)
    redecide(finished, overrides=STRICTER, in_place=True)
    assert verify_run(finished).ok
    found = {path: path.read_bytes() for path in (finished / ".unanswered").rglob("*.lines")}
    assert found == {
        kept / "00000.lines": b"of the run itself",
        kept / "00001.lines": b"of the decision",
        finished / ".unanswered/00002/00000.lines": b"of the decision",
    }


def test_two_decisions_in_place_exclude_each_other(finished: Path) -> None:
    lock = RunLock(Folder(finished))
    lock.acquire()
    try:
        with pytest.raises(RunConflictError, match="is being written by process"):
            redecide(finished, overrides=STRICTER, in_place=True)
    finally:
        lock.release()
    assert verify_run(finished).ok


@pytest.mark.parametrize(
    ("override", "section"),
    [
        ("run.seed=8", "[run]"),
        ("run.samples=2", "[run]"),
        ("prompts.limit=3", "[prompts]"),
        ("router.teachers_per_prompt=1", "[router]"),
        ("teachers.alpha.sampling.temperature=0.5", "[teachers]"),
        ("teachers.alpha.precision=fp8", "[teachers]"),
    ],
)
def test_a_config_that_asks_for_other_candidates_is_refused(
    finished: Path, override: str, section: str
) -> None:
    with pytest.raises(ConfigError, match="would need other") as caught:
        redecide(finished, overrides=[override])
    assert section in str(caught.value)


def test_operational_keys_do_not_matter_to_a_decision(finished: Path) -> None:
    given = ["run.workers=5", "run.shard_size=3", "teachers.alpha.max_concurrency=1"]
    assert verify_run(redecide(finished, overrides=given, run_id="x")).ok

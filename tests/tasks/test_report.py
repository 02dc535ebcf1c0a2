"""The progress artifact: it follows the board, and a server that is away does not end the run."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest

from arbitrage.infra.progress import board
from arbitrage.infra.report.outcome import Outcome
from arbitrage.tasks import report
from arbitrage.tasks.report import RunProgress


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the artifact was set to, in place of Prefect's API."""
    told: list[tuple[float, str]] = []

    def create(progress: float, key: str, description: str) -> object:
        told.append((progress, description))
        return uuid4()

    board.reset()
    monkeypatch.setattr(report, "create_progress_artifact", create)
    monkeypatch.setattr(report, "update_progress_artifact", lambda _, *news: told.append(news))
    monkeypatch.setattr(report, "emit_event", lambda *_, **__: None)
    return told


def test_progress_names_the_step_and_ends_at_100_with_what_was_kept(
    told: list[tuple[float, str]],
) -> None:
    with RunProgress("runs/r1") as progress:
        progress.expect(4)
        board.enter("generating and scoring")
        board.add(requested=40, finished=12, failed=2)
        progress.advance()
        progress._tell()
        progress.finish(Outcome(9, 10, ()))
    assert told == [
        (0.0, "r1: starting the flow"),
        (
            23.8,
            "r1: generating and scoring; 1 of 4 shards scored; 12 of 40 answers, 2 of them failed",
        ),
        (100.0, "r1: finished, kept 9 of 10"),
    ]


def test_a_run_that_breaks_off_stays_below_100_and_says_in_which_step(
    told: list[tuple[float, str]],
) -> None:
    def broken_off() -> None:
        with RunProgress("runs/r1") as progress:
            progress.expect(1)
            progress.advance()
            board.enter("deciding")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert told[-1] == (95.0, "r1: ended while deciding; 1 of 1 shards scored")


def test_nothing_is_sent_where_there_is_no_news(told: list[tuple[float, str]]) -> None:
    progress = RunProgress("runs/r1")
    progress._tell()
    progress._tell()
    assert told == [(0.0, "r1: starting the flow")]


def test_while_the_run_goes_on_it_is_told_without_being_asked(
    told: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    monkeypatch.setattr(report, "_UPDATE_EVERY_S", 0.01)
    with RunProgress("runs/r1"):
        board.enter("reading prompts")
        until(lambda: told[-1] == (0.0, "r1: reading prompts"))


def test_a_server_that_is_away_is_said_and_does_not_end_the_run(
    told: list[tuple[float, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*_: object) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(report, "update_progress_artifact", away)
    with RunProgress("runs/r1") as progress:
        progress.finish(Outcome(1, 1, ()))
    assert "goes on without showing its progress: refused" in caplog.text


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for something that another thread does."""
    import time

    def wait(happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait

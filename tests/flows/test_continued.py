"""A run that is continued submits no task for what is done: 10,000 of them would be minutes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from run_configs import parsed, replay_data, run_steps

from arbitrage.config import RunConfig
from arbitrage.flows import distill
from arbitrage.infra.progress import board
from arbitrage.tasks import report
from arbitrage.tasks.decide import decide_candidates, merge_moments
from arbitrage.tasks.report import RunProgress
from arbitrage.tasks.score import score_candidates

DONE = SimpleNamespace(result=lambda: None, wait=lambda: None)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Events that were emitted; no API is asked."""
    found: list[Any] = []
    monkeypatch.setattr(report, "create_progress_artifact", lambda *_: uuid4())
    monkeypatch.setattr(report, "emit_event", lambda *_, payload, **__: found.append(payload))
    return found


@pytest.fixture
def begun(tmp_path: Path) -> tuple[RunConfig, str]:
    """A run of five shards that were generated; the first and the third are scored."""
    config = parsed(replay_data(tmp_path))
    uri = str(run_steps(config, "begun", upto="generated"))
    for shard in (0, 2):
        score_candidates(uri, shard)
    board.reset()
    return config, uri


def test_scored_shards_are_counted_and_not_submitted(
    begun: tuple[RunConfig, str], events: list[Any]
) -> None:
    config, uri = begun
    submitted = []

    def submit(shard: int, teachers: list[str] | None, score: bool) -> Any:
        submitted.append((shard, teachers, score))
        return DONE

    progress = RunProgress(uri)
    progress.expect(5)
    distill.complete_shards(config, uri, range(5), progress, submit)
    assert submitted == [(1, None, True), (3, None, True), (4, None, True)]
    assert [event["done"] for event in events] == [3, 4, 5]
    assert board.read().shards_scored == 2


def test_decided_shards_are_counted_and_not_submitted(
    begun: tuple[RunConfig, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, uri = begun
    for shard in (1, 3, 4):
        score_candidates(uri, shard)
    merge_moments.fn(uri, 5)
    decide_candidates.fn(uri, [0, 1, 4])
    board.reset()
    submitted: list[list[int]] = []

    def submit(_: str, shards: list[int]) -> Any:
        submitted.append(shards)
        return DONE

    monkeypatch.setattr(distill, "decide_candidates", SimpleNamespace(submit=submit))
    distill.decide_shards(uri, 5, workers=2)
    assert submitted == [[2, 3]]
    assert board.read().shards_decided == 3

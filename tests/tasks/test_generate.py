"""Generation as one process does it: what it sets up for a run it takes down with it."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path

import pytest
from run_configs import parsed, replay_data

from arbitrage.infra.store.begin import open_run_folder
from arbitrage.tasks.generate import open_teachers, shared_teachers


def test_full_collections_pass_over_what_stood_before_until_the_last_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.tasks.generate._opened", {})
    gc.unfreeze()
    runs = [
        open_run_folder(parsed(replay_data(tmp_path), run__name=name), new=True)
        for name in ("one", "other")
    ]
    with closing(runs[0]), closing(runs[1]), open_teachers(runs[0].run.uri):
        with open_teachers(runs[1].run.uri):
            shared_teachers(runs[0].run)
            first = gc.get_freeze_count()
            assert first > 0
            shared_teachers(runs[1].run)
            assert gc.get_freeze_count() >= first
        assert gc.get_freeze_count() >= first
    assert gc.get_freeze_count() == 0

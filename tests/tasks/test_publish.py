"""What publishing adds up over all shards, some files at a time, is what one look at all gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest
from run_configs import parsed, replay_data, run_steps

from arbitrage.filters.asking import ServerParams
from arbitrage.infra.store import layout, publish
from arbitrage.infra.store.run import Run, attach
from arbitrage.tasks.trust import unscored_causes


@pytest.fixture
def decided(tmp_path: Path) -> Any:
    """Five shards, one file of each kind read at a time."""
    return attach(str(run_steps(parsed(replay_data(tmp_path)), "sums", upto="decided")))


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "batches", lambda paths: ([path] for path in paths))


def every(run: Any, kind: str) -> pl.DataFrame:
    return pl.concat(pl.read_ipc(run.folder / layout.part(kind, shard)) for shard in range(5))


def test_tokens_cost_and_prompts_are_those_of_all_files(decided: Any) -> None:
    candidates = every(decided, "candidates")
    priced = candidates.with_columns(
        prompt_tokens=pl.lit(3, pl.Int32), cost_usd=pl.int_range(pl.len()).cast(pl.Float32) / 7
    )
    for shard, rows in enumerate(priced.iter_slices(-(-len(priced) // 5))):
        rows.write_ipc(decided.folder / layout.part("candidates", shard))
    used = publish._used(decided, 5)
    assert used["prompt_tokens"] == 3 * len(priced)
    assert used["completion_tokens"] == candidates["completion_tokens"].sum()
    assert used["cost_usd"] == pytest.approx(priced["cost_usd"].cast(pl.Float64).sum())
    prompts = every(decided, "prompts")
    routed = publish.routed_by_language(decided, 5)
    assert routed == dict(prompts["language"].value_counts().iter_rows())
    assert list(routed) == sorted(routed)


class Asking(ServerParams):
    """Of a filter that asks a server."""

    def asking(self) -> Any:
        raise NotImplementedError


def test_causes_without_a_score_are_counted_over_all_files(decided: Any) -> None:
    candidates = every(decided, "candidates")
    causes = ["unanswered"] * 7 + ["budget_spent"] * 9 + [None] * (len(candidates) - 16)
    asked = candidates.with_columns(pl.Series("judge.cause", causes, dtype=pl.String))
    for shard, rows in enumerate(asked.iter_slices(-(-len(asked) // 5))):
        rows.write_ipc(decided.folder / layout.part("candidates", shard))
    config = SimpleNamespace(filter_params={"judge": Asking.model_construct()})
    found = unscored_causes(cast("Run", SimpleNamespace(folder=decided.folder, config=config)), 5)
    assert found == {"judge": {"budget_spent": 9, "unanswered": 7}}
    assert list(found["judge"]) == ["budget_spent", "unanswered"]

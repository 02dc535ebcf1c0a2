"""Each step of an unfinished run is committed once and for all; a run may go on after any."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.run import attach
from arbitrage.infra.store.verify import verify_run

STEPS = ("input", "routed", "generated", "scored", "matched", "merged", "decided", "viewed")


@pytest.mark.parametrize("upto", STEPS)
def test_a_run_goes_on_after_each_step_and_ends_with_the_same_rows(
    run_configs: ModuleType,
    small_data: dict[str, Any],
    pristine: Path,
    tmp_path: Path,
    upto: str,
) -> None:
    changes = {"run__output": str(tmp_path), "prompts__max_characters": 60}
    config = run_configs.parsed(small_data, **changes)
    path = run_configs.run_steps(config, "stepwise", upto=upto)
    with pytest.raises(DamagedRunError, match="not a finished run"):
        open_run(path)
    assert run_configs.run_steps(config, "stepwise") == path
    assert verify_run(path).problems == []
    assert run_configs.stable_rows(path) == run_configs.stable_rows(pristine)
    assert not (path / layout.WORK).exists()


def test_staged_input_is_not_read_from_its_source_again(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    rows = run_configs.prompt_rows(1)
    source = run_configs.write_prompts(tmp_path / "p.parquet", rows)
    changes = {"run__output": str(tmp_path / "runs"), "prompts__source": str(source)}
    config = run_configs.parsed(small_data, **changes)
    run_configs.run_steps(config, "x", upto="input")
    source.unlink()
    path = run_configs.run_steps(config, "x")
    assert open_run(path).prompts.collect().height == len(rows)


def test_a_spent_journal_is_gone_once_its_scores_are_committed(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    config = run_configs.parsed(small_data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "x", upto="generated")
    assert len(list(path.glob(f"{layout.WORK}/journal/*/*.frames"))) == 5
    run_configs.run_steps(config, "x", upto="scored")
    assert list(path.glob(f"{layout.WORK}/journal/*")) == []


def test_scoring_before_every_answer_is_there_is_refused(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    config = run_configs.parsed(small_data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "x", upto="routed")
    with pytest.raises(DamagedRunError, match="0 of 14 candidates"):
        attach(str(path)).generated(0)


def test_attaching_to_what_is_no_unfinished_run_says_so(pristine: Path, tmp_path: Path) -> None:
    for path in (pristine, tmp_path):
        with pytest.raises(DamagedRunError, match="not an unfinished run"):
            attach(str(path))

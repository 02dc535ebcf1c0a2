"""Backfill: each day of the range once, in its own run folder, from its own source."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.errors import ConfigError
from arbitrage.flows.backfill import backfill, days

FIRST, LAST = date(2026, 2, 28), date(2026, 3, 1)


def daily(run_configs: ModuleType, folder: Path, source: str) -> Any:
    data = run_configs.replay_data(folder)
    rows = run_configs.prompt_rows()
    for day, row in zip(days(FIRST, LAST), rows, strict=False):
        run_configs.write_prompts(folder / f"{day}.parquet", [row])
    data["prompts"]["source"] = str(folder / source)
    data["run"] = data["run"] | {"name": "daily", "output": str(folder / "runs")}
    return run_configs.parsed(data)


def test_the_range_holds_both_ends_and_the_days_between_months() -> None:
    assert [str(day) for day in days(FIRST, LAST)] == ["2026-02-28", "2026-03-01"]


def test_each_day_is_run_once_and_a_second_backfill_repeats_none(
    prefect_server: None, run_configs: ModuleType, tmp_path: Path
) -> None:
    config = daily(run_configs, tmp_path, "{day}.parquet")
    folders = backfill(config, FIRST, LAST)
    assert [Path(one).name for one in folders] == ["daily-2026-02-28", "daily-2026-03-01"]
    written = [(Path(one) / "manifest.json").stat().st_mtime_ns for one in folders]
    assert backfill(config, FIRST, LAST) == folders
    assert written == [(Path(one) / "manifest.json").stat().st_mtime_ns for one in folders]


def test_a_config_without_a_day_and_a_range_backwards_are_refused(
    run_configs: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="stands nowhere"):
        backfill.fn(daily(run_configs, tmp_path, "2026-02-28.parquet"), FIRST, LAST)
    elsewhere = daily(run_configs, tmp_path, "2026-02-28.parquet").model_dump(mode="json")
    elsewhere["teachers"][0]["precision"] = "{day}"
    with pytest.raises(ConfigError, match="stands nowhere in prompts"):
        backfill.fn(run_configs.parsed(elsewhere), FIRST, LAST)
    with pytest.raises(ConfigError, match="lies before"):
        backfill.fn(daily(run_configs, tmp_path, "{day}.parquet"), LAST, FIRST)

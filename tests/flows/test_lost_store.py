"""A run whose store went away, at the command line."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store.s3.failures import StorageError


def test_it_ends_with_the_command_that_continues_it(
    run_configs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from arbitrage.flows import distill, server
    from arbitrage.flows.cli import app

    def gone(*_: Any, **__: Any) -> None:
        raise StorageError("the keys expired. Everything is saved.", mend="Renew them.")

    monkeypatch.setattr(distill, "distill", gone)
    monkeypatch.setattr(server, "prefect_api", nullcontext)
    config = run_configs.write_toml(tmp_path / "run.toml", run_configs.replay_data(tmp_path))
    monkeypatch.setattr(sys, "argv", ["arbitrage", "run", str(config), "--new"])
    done = CliRunner().invoke(app, ["run", str(config), "--new", "--run-id", "r"])
    assert isinstance(done.exception, StorageError)
    assert str(done.exception) == (
        "the keys expired. Everything is saved. Renew them. "
        f"Then continue with: arbitrage run {config} --run-id r"
    )

"""One finished run for the tests that read it, and the builders of tests/run_configs.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def small_data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Config data of 30 prompts in ten languages and two recorded teachers."""
    return run_configs.replay_data(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def pristine(run_configs: ModuleType, small_data: dict[str, Any]) -> Path:
    """A finished run that no test may change: five shards, two views, one prompt without route."""
    data = run_configs.changed(small_data, {"prompts.max_characters": 60})
    return run_configs.run_steps(run_configs.parsed(data), "pristine")


@pytest.fixture
def finished(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "finished"))

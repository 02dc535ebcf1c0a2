"""One finished run for the tests that read it, and the builders of tests/run_configs.py."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def run_configs() -> ModuleType:
    """tests/run_configs.py as a module."""
    name = "run_configs"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def small_data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Config data of 30 prompts in ten languages and two recorded teachers."""
    return run_configs.replay_data(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def pristine(run_configs: ModuleType, small_data: dict[str, Any]) -> Path:
    """A finished run that no test may change: five shards, two views, one prompt without route."""
    data = run_configs.changed(small_data, {"prompts.max_characters": 70})
    return run_configs.run_steps(run_configs.parsed(data), "pristine")


@pytest.fixture
def finished(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "finished"))

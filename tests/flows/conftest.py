"""A Prefect server and one finished run for the session; the command line in a child or in here."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def small_data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Config data: 30 prompts in ten languages, two recorded teachers, three samples of each."""
    return run_configs.replay_data(tmp_path_factory.mktemp("small"), samples=3)


@pytest.fixture(scope="session")
def pristine(prefect_server: None, run_configs: ModuleType, small_data: dict[str, Any]) -> Path:
    """A run that `distill` finished; no test may change it."""
    from arbitrage.flows.distill import distill

    return Path(distill(run_configs.parsed(small_data), run_id="pristine"))


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one message a user sees, which must not be a traceback."""
        assert "Traceback" not in self.out + self.err
        lines = self.err.splitlines()
        (start,) = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        return "\n".join(lines[start:])


@pytest.fixture
def arbitrage(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """`arbitrage("run", path)`: the command line in this process, through the same `main`.

    Prefect's own log is off, as the command line sets it for a process of its own.
    """
    from arbitrage.flows.cli import main

    def call(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["arbitrage", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        logging.disable(logging.CRITICAL)
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(done.code is not None)
        finally:
            logging.disable(logging.NOTSET)
        captured = capfd.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[Path]:
    """The current folder is the test's own."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture(scope="module")
def toml(run_configs: ModuleType, small_data: dict[str, Any], tmp_path_factory: Any) -> Path:
    return run_configs.write_toml(tmp_path_factory.mktemp("toml") / "run.toml", small_data)


@pytest.fixture
def finished(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, alone in its folder."""
    return Path(shutil.copytree(pristine, tmp_path / "runs" / "finished"))

"""The custom filter is one file that works as it stands: as a script and in a run."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from arbitrage import registry
from arbitrage.filters import scoring
from arbitrage.filters.base import Batch

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_filter"
FILE = EXAMPLE / "preamble.py"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    """The file as a stranger's module, and its filter gone again afterwards."""
    registry.filters.discover()
    before = dict(registry.filters._entries)
    spec = importlib.util.spec_from_file_location("a_strangers_filter", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    scoring.close_filters()
    registry.filters._entries.clear()
    registry.filters._entries.update(before)


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```console\n(.*?)^```", (EXAMPLE / "README.md").read_text(), re.M | re.S)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


def test_as_a_script_it_is_the_command_line_with_one_filter_more() -> None:
    listing, _ = commands()
    assert listing[:2] == ["python", "examples/custom_filter/preamble.py"]
    done = subprocess.run(
        [sys.executable, *listing[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"preamble.*Says whether each answer", done.stdout)


@pytest.mark.usefixtures("prefect_server", "example")
def test_a_run_measures_and_decides_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbitrage.flows.cli import app
    from arbitrage.infra.store import open_run

    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    _, run = commands()
    assert app(run[2:], standalone_mode=False) in (None, 0)
    rows = open_run("runs/polite").candidates.collect()
    present = rows["preamble.present"]
    assert present.null_count() == rows["text"].is_null().sum() + (rows["text"] == "").sum()
    assert 0 < (present == 1).sum() < rows.height / 2
    for row in rows.filter(present == 1).to_dicts():
        assert row["preamble.phrase"] in row["text"].lower()
        assert "preamble.begins_with_preamble" in row["reasons"]


def test_its_doctest_and_its_abstentions_hold(example: ModuleType) -> None:
    assert doctest.testmod(example).failed == 0
    scorer = example.Preamble(example.PreambleParams(phrases=("ışık", "ok")))
    texts = ["", " \n", "\ud800", "IŞIK", "not ok"]
    scores = scorer.score(Batch(texts, ["tr"] * 5, [None] * 5))
    expected = np.array([np.nan, np.nan, 0, 1, 0], np.float32)
    np.testing.assert_array_equal(scores.measures["present"], expected)

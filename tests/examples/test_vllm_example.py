"""The example for a GPU machine is a config the product accepts, and its two models take turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbitrage.config import load_config
from arbitrage.infra.generation.waves import waves

ROOT = Path(__file__).resolve().parents[2]


def test_the_config_is_accepted_and_its_teachers_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config("examples/vllm/run.toml")
    assert Path(config.prompts.source).is_file()
    assert [wave.teachers for wave in waves(config.teachers)] == [
        ("qwen3-8b",),
        ("aya-expanse-8b",),
    ]


def test_it_can_be_planned_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from arbitrage.flows.cli import app

    monkeypatch.chdir(ROOT)
    assert app(["plan", "examples/vllm/run.toml"], standalone_mode=False) in (None, 0)
    said = capsys.readouterr().out
    assert "qwen3-8b" in said
    assert "aya-expanse-8b" in said

"""What `check` says of filters that cannot load what the run's languages will need."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reward_server import RewardServer

from arbitrage.filters import scoring, tokenisers
from arbitrage.flows.preflight import Finding, preflight


@pytest.fixture
def toml(run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path) -> Path:
    """The small run with one filter more, in ten languages."""
    return write(run_configs, small_data, tmp_path, {"language_confusion": {}})


def write(
    run_configs: ModuleType, data: dict[str, Any], folder: Path, filters: Any, **select: str
) -> Path:
    changes = {"filters": filters, "views": {"sft": {}}, "select": {"per_prompt": 1, **select}}
    return Path(run_configs.write_toml(folder / "run.toml", {**data, **changes}))


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tokenisers, "_here", type(tokenisers._here)())
    tokenisers._chinese.cache_clear()
    scoring.close_filters()
    yield
    tokenisers._chinese.cache_clear()
    scoring.close_filters()


def found(toml: Path, *overrides: str) -> Finding:
    findings = list(preflight(toml, overrides))
    return next((it for it in findings if it.what.startswith("filter ")), findings[0])


def test_filters_load_and_measure(toml: Path) -> None:
    said = found(toml)
    assert said.ok
    assert said.message == "language_confusion@1 loads and measures"


@pytest.mark.parametrize(("package", "language"), [("jieba", "zh"), ("fugashi", "ja")])
def test_a_tokeniser_that_a_language_of_the_run_needs_is_missed(
    toml: Path, monkeypatch: pytest.MonkeyPatch, package: str, language: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for overrides in ([], [f'prompts.language="{language}"']):
        said = found(toml, *overrides)
        assert not said.ok
        assert f'"{package}"' in said.message
        assert 'pip install "multilingual-arbitrage[confusion]"' in said.message
    assert found(toml, 'filters.language_confusion.tokens="icu"').ok
    assert found(toml, 'prompts.language="ko"').message.endswith("loads and measures")


def test_a_tokeniser_that_only_later_rows_may_need_is_a_warning(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    said = found(toml, "prompts.where=\"language = 'tr'\"")
    assert said.ok
    assert "the languages of the first rows; others it may not" in said.message
    assert '"jieba"' in said.message


def test_a_scorer_whose_library_is_missing_is_missed(
    run_configs: ModuleType,
    small_data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path = write(run_configs, small_data, tmp_path, {"toxicity": {"scorer": "detoxify"}})
    said = found(path)
    assert not said.ok
    assert 'pip install "multilingual-arbitrage[detoxify]"' in said.message
    assert found(path, 'filters.toxicity.scorer="words"').ok


def test_a_measure_of_the_chosen_scorer_can_be_selected_by(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    path = write(
        run_configs,
        small_data,
        tmp_path,
        {"toxicity": {"scorer": "detoxify"}},
        objective="minimize:toxicity.insult",
    )
    assert next(preflight(path)).ok
    refused = next(preflight(path, ['filters.toxicity.scorer="words"']))
    assert not refused.ok
    assert '"toxicity.insult" is not a measure of this run' in refused.message


@pytest.mark.parametrize("name", ["judge", "reward_model", "likelihood"])
def test_a_server_that_a_filter_asks_is_asked_once_and_missed_where_it_is_silent(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path, name: str
) -> None:
    with RewardServer() as server:
        asks = {name: {"base_url": server.base_url, "model": "m"}}
        path = write(run_configs, small_data, tmp_path, asks)
        said = found(path)
        assert said.ok, said.message
        assert f"{name}@1 answers at {server.base_url}" in said.message
        assert len(server.bodies) <= 2
        unset = found(path, f'filters.{name}.api_key_env="NOT_SET_ANYWHERE"')
        assert not unset.ok
        assert '"NOT_SET_ANYWHERE" is not set' in unset.message
    silent = found(path)
    assert not silent.ok
    assert "no answer in 2 tries" in silent.message


def test_a_judges_own_templates_are_read(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "pointwise.ja.jinja").write_text("{{ oh")
    asks = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "templates": str(tmp_path)}
    said = found(write(run_configs, small_data, tmp_path, {"judge": asks}))
    assert not said.ok
    assert 'the template "pointwise" for "ja" will not do' in said.message

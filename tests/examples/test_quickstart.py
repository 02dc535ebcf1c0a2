"""The quickstart's data are what its README says, and its config is one the product accepts."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from arbitrage.config import load_config
from arbitrage.languages import normalise_tag

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
LANGUAGES = {
    *("ar", "de", "en", "es", "fr", "hi", "id", "it"),
    *("ja", "ko", "pt", "ru", "tr", "vi", "zh"),
}
SOURCES = {"aya_human_annotated", "complex_prompts", "dolly_human_edited", "native_prompts"}


@pytest.fixture(scope="module")
def prompts() -> pl.DataFrame:
    return pl.read_parquet(QUICKSTART / "prompts.parquet")


@pytest.fixture(scope="module")
def recordings() -> pl.DataFrame:
    return pl.read_parquet(QUICKSTART / "recordings.parquet")


def test_the_config_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config("examples/quickstart/run.toml")
    assert len(config.teachers) == 4
    assert set(config.views) == {"sft", "preference"}


def test_the_paths_in_the_config_exist_from_the_root() -> None:
    config = tomllib.loads((QUICKSTART / "run.toml").read_text(encoding="utf-8"))
    paths = {config["prompts"]["source"], *(t["recordings"] for t in config["teachers"])}
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_only_sources_with_a_clear_licence_are_in_it(prompts: pl.DataFrame) -> None:
    assert set(prompts["source"]) == SOURCES


def test_every_language_has_about_twenty_prompts_and_none_comes_twice(
    prompts: pl.DataFrame,
) -> None:
    counts = Counter(prompts["language"])
    assert counts.keys() == LANGUAGES
    assert all(16 <= count <= 20 for count in counts.values())
    assert {normalise_tag(tag) for tag in counts} == LANGUAGES
    assert prompts["prompt_id"].n_unique() == prompts["prompt"].n_unique() == prompts.height


def test_every_teacher_of_the_config_recorded_every_prompt(
    prompts: pl.DataFrame, recordings: pl.DataFrame
) -> None:
    config = tomllib.loads((QUICKSTART / "run.toml").read_text(encoding="utf-8"))
    teachers = {teacher.get("recorded_as", teacher["name"]) for teacher in config["teachers"]}
    pairs = set(recordings.select("prompt_id", "teacher").iter_rows())
    assert pairs == {(prompt, teacher) for prompt in prompts["prompt_id"] for teacher in teachers}
    assert recordings.height == len(pairs)


def test_the_readme_counts_what_is_there(prompts: pl.DataFrame, recordings: pl.DataFrame) -> None:
    readme = (QUICKSTART / "README.md").read_text(encoding="utf-8")
    assert f"| `prompts.parquet` | {prompts.height} |" in readme
    assert f"| `recordings.parquet` | {recordings.height:,} |" in readme
    assert recordings["completion"].null_count() == 2
    assert f"({recordings['completion'].str.len_chars().max()} characters at most here)" in readme
    assert prompts["prompt"].str.len_chars().max() <= 1000


def test_the_data_are_small_enough_for_a_repository() -> None:
    assert sum(file.stat().st_size for file in QUICKSTART.glob("*.parquet")) < 2_000_000

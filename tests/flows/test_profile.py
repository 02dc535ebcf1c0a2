"""`arbitrage profile` and the flow of the same name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from arbitrage.infra.report.figures import figures


def test_a_language_lead_reads_measures_by_teacher(
    arbitrage: Callable[..., Any], pristine: Path
) -> None:
    said = arbitrage("profile", str(pristine), "--language", "tr")
    assert said.code == 0
    for name in ("length.words", "difference", ".."):
        assert name in said.out


def test_without_options_there_is_a_sentence_a_language(
    arbitrage: Callable[..., Any], pristine: Path
) -> None:
    said = arbitrage("profile", str(pristine))
    told = json.loads(arbitrage("profile", str(pristine), "--json").out)
    assert said.code == 0
    flat = " ".join(said.out.split())
    for language, sentence in told["sentences"].items():
        assert f"{language} {sentence}" in flat
    assert "length.words" not in said.out


def test_intervals_are_not_broken_where_output_goes_to_a_file(
    arbitrage: Callable[..., Any], pristine: Path
) -> None:
    said = arbitrage("profile", str(pristine), "--measure", "length.words")
    told = json.loads(arbitrage("profile", str(pristine), "--json").out)
    for item in told["attributes"]:
        if item["measure"] == "length.words" and item["low"] is not None:
            assert f"{figures(item['low'], 2)}..{figures(item['high'], 2)}" in said.out


def test_the_json_agrees_with_the_candidates(arbitrage: Callable[..., Any], pristine: Path) -> None:
    told = json.loads(arbitrage("profile", str(pristine), "--json").out)
    candidates = pl.scan_ipc(pristine / "candidates/*.arrow").filter(pl.col("text").is_not_null())
    expected = candidates.group_by("language", "teacher").agg(pl.col("length.words").mean())
    means = {
        (item["language"], item["teacher"]): item["mean"]
        for item in told["attributes"]
        if item["measure"] == "length.words"
    }
    for language, teacher, mean in expected.collect().iter_rows():
        assert means[language, teacher] == pytest.approx(mean, rel=1e-6)


def test_by_source_the_prompts_sources_are_the_columns(
    arbitrage: Callable[..., Any], pristine: Path
) -> None:
    told = json.loads(arbitrage("profile", str(pristine), "--by", "source", "--json").out)
    sources = pl.scan_ipc(pristine / "prompts/*.arrow").select("source").unique().collect()
    assert told["by"] == "source"
    assert {item["teacher"] for item in told["attributes"]} == set(sources["source"])


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [("--measure", "length.word", "length.words"), ("--language", "tk", "tr")],
)
def test_an_unknown_name_is_told_the_known_ones(
    arbitrage: Callable[..., Any], pristine: Path, option: str, value: str, known: str
) -> None:
    said = arbitrage("profile", str(pristine), option, value)
    assert said.code == 2
    assert known in said.complaint


def test_the_flow_leaves_its_tables_as_artifacts(pristine: Path) -> None:
    from arbitrage.flows.profile import profile

    profile(str(pristine))
    artifacts = asyncio.run(read_artifacts())
    assert "length.words" in artifacts["arbitrage-profile"]
    assert json.loads(artifacts["arbitrage-shift"])


async def read_artifacts() -> dict[str, Any]:
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    keys = ["arbitrage-profile", "arbitrage-shift"]
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=keys))
        return {item.key: item.data for item in await client.read_artifacts(artifact_filter=wanted)}

"""LPR, WPR and LCPR: equal to a plain computation, averaged as the authors do, with intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import straightforward_lcb
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch
from arbitrage.filters.confusion_rates import ConfusionRates, confusion_rates
from arbitrage.filters.language_confusion import LanguageConfusion, LanguageConfusionParams
from arbitrage.filters.word_lists import english_words
from arbitrage.language_model import load_model

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart"

# What a completion is: lines, wrong lines, word pass.
KINDS: Mapping[str, tuple[float, float, float]] = {
    "skipped": (0, math.nan, math.nan),
    "wrong": (3, 1, math.nan),
    "right": (2, 0, math.nan),
    "english": (2, 0, 0),
    "clean": (2, 0, 1),
}
Row = tuple[str, str, str, str]  # prompt_id, teacher, language, kind


def table(rows: Sequence[Row]) -> pa.Table:
    lines, wrong, word = zip(*(KINDS[row[3]] for row in rows), strict=True)
    columns = {"lines": lines, "wrong_lines": wrong, "word_pass": word}
    return pa.table(
        {
            "prompt_id": [row[0] for row in rows],
            "teacher": [row[1] for row in rows],
            "language": [row[2] for row in rows],
            **{
                f"language_confusion.{name}": pa.array(values, pa.float32(), from_pandas=True)
                for name, values in columns.items()
            },
        }
    )


def by_key(rows: Sequence[ConfusionRates]) -> dict[tuple[str, str, str], ConfusionRates]:
    return {(row.teacher, row.source, row.language): row for row in rows}


def compare(recorded: pl.DataFrame, words: str | None) -> int:
    """Filter and rates against the plain computation, per teacher; how many rates were compared."""
    scorer = LanguageConfusion(LanguageConfusionParams(english_words=words))
    texts, languages = recorded["completion"].to_list(), recorded["language"].to_list()
    scores = scorer.score(Batch(texts, languages, [None] * len(texts)))
    scored = recorded.select("teacher", "prompt_id", "language").to_arrow()
    for name, values in scores.measures.items():
        scored = scored.append_column(f"language_confusion.{name}", pa.array(values))
    sources = dict(recorded.select("prompt_id", "source").iter_rows())
    ours = by_key(confusion_rates(scored, sources, replicates=10, of_nothing=1.0))
    compared = 0
    for teacher in recorded["teacher"].unique():
        rows = recorded.filter(teacher=teacher).select("source", "language", "completion")
        plain = straightforward_lcb.rates(rows.iter_rows(), load_model(), set(english_words(words)))
        assert {key[1:] for key in ours if key[0] == teacher} == set(plain)
        for key, rates in plain.items():
            row = ours[teacher, *key]
            assert row.lpr.value == pytest.approx(rates["lpr"], abs=1e-12)
            assert row.wpr.value == pytest.approx(
                rates.get("wpr", math.nan), abs=1e-12, nan_ok=True
            )
            compared += len(rates)
    return compared


def test_rates_of_recorded_answers_equal_a_plain_computation() -> None:
    prompts = pl.read_parquet(QUICKSTART / "prompts.parquet")
    recordings = pl.read_parquet(QUICKSTART / "recordings.parquet")
    recorded = recordings.join(prompts.select("prompt_id", "language", "source"), on="prompt_id")
    assert recorded["language"].n_unique() == 15
    assert compare(recorded.filter(pl.col("completion").is_not_null()), None) > 100


@pytest.mark.shared
@pytest.mark.skipif("LCB_DIR" not in os.environ, reason="LCB_DIR names no folder of recordings")
@pytest.mark.timeout(900)
def test_rates_of_the_whole_benchmark_equal_a_plain_computation() -> None:
    folder = Path(os.environ["LCB_DIR"])
    prompts = pl.read_parquet(folder / "prompts.parquet").drop("prompt")
    recorded = pl.read_parquet(folder / "completions.parquet").join(prompts, on="prompt_id")
    recorded = recorded.with_columns(pl.col("completion").fill_null(""))
    for task in ("monolingual", "crosslingual"):
        assert compare(recorded.filter(task=task), str(folder / "english_words.txt")) > 100


def test_rates_are_shares_of_what_was_scored() -> None:
    kinds = ["skipped", "wrong", "english", "clean", "clean"]
    (row, *_) = confusion_rates(table([(str(n), "t", "ru", kind) for n, kind in enumerate(kinds)]))
    assert (row.completions, row.scored) == (5, 4)
    assert row.lpr.value == 3 / 4
    assert row.wpr.value == 2 / 3
    assert row.lcpr.value == pytest.approx(2 / (4 / 3 + 3 / 2))
    for rate in (row.lpr, row.wpr, row.lcpr):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_averages_weigh_sources_and_languages_alike() -> None:
    rows = [
        *[(f"a{n}", "t", "ru", "clean" if n else "wrong") for n in range(4)],  # LPR 3/4
        *[(f"b{n}", "t", "ru", "clean") for n in range(2)],  # LPR 1
        *[(f"c{n}", "t", "de", "wrong") for n in range(9)],  # LPR 0, no WPR
    ]
    found = by_key(confusion_rates(table(rows), {row[0]: row[0][0] for row in rows}))
    assert found["t", "all", "ru"].lpr.value == (3 / 4 + 1) / 2
    assert found["t", "all", "de"].lpr.value == 0
    assert found["t", "all", "all"].lpr.value == (7 / 8 + 0) / 2
    assert found["t", "all", "all"].wpr.value == 1
    assert found["t", "c", "all"].completions == 9
    assert math.isnan(found["t", "all", "de"].wpr.value)
    assert math.isnan(found["t", "all", "de"].lcpr.value)
    assert next(reversed(found)) == ("t", "all", "all")


@pytest.mark.parametrize("kind", ["skipped", "wrong"])
def test_a_rate_of_nothing_is_none_or_the_authors_one(kind: str) -> None:
    rows = table([("1", "t", "ru", kind), ("2", "t", "ru", kind)])
    abstained, *_ = confusion_rates(rows)
    theirs, *_ = confusion_rates(rows, of_nothing=1.0)
    assert math.isnan(abstained.wpr.value)
    assert theirs.wpr.value == 1
    assert theirs.lpr.value == (1 if kind == "skipped" else 0)
    assert math.isnan(abstained.lpr.value) == (kind == "skipped")
    assert abstained.scored == (0 if kind == "skipped" else 2)


def test_what_is_missing_is_named() -> None:
    rows = table([("1", "t", "ru", "clean")])
    with pytest.raises(FilterError, match='prompt "1" has no source'):
        confusion_rates(rows, {"2": "okapi"})
    with pytest.raises(FilterError, match=r"language_confusion\.wrong_lines"):
        confusion_rates(rows.drop_columns(["language_confusion.wrong_lines"]))


def test_no_words_of_a_latin_language_are_a_rate_of_nothing() -> None:
    row, *_ = confusion_rates(table([("1", "t", "de", "right")]), of_nothing=1.0)
    assert row.lpr.value == 1
    assert math.isnan(row.wpr.value)


def test_both_rates_zero_have_a_harmonic_mean_of_zero() -> None:
    row, *_ = confusion_rates(table([("1", "t", "ru", "wrong")]), of_nothing=0.0)
    assert (row.lpr.value, row.wpr.value, row.lcpr.value) == (0, 0, 0)


def test_samples_of_one_prompt_are_drawn_together() -> None:
    same = [(str(n // 10), "t", "ru", "clean" if n < 100 else "wrong") for n in range(200)]
    apart = [(str(n), *row[1:]) for n, row in enumerate(same)]
    wide, narrow = (confusion_rates(table(rows))[0].lpr for rows in (same, apart))
    assert wide.value == narrow.value == 0.5
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_interval_is_that_of_a_share() -> None:
    rows = [(str(n), "t", "de", "right" if n % 4 else "wrong") for n in range(400)]
    lpr = confusion_rates(table(rows), replicates=4000)[0].lpr
    deviation = math.sqrt(0.75 * 0.25 / 400)
    assert lpr.low == pytest.approx(0.75 - 1.96 * deviation, abs=0.006)
    assert lpr.high == pytest.approx(0.75 + 1.96 * deviation, abs=0.006)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("123456"),
            st.sampled_from(["a", "b"]),
            st.sampled_from(["ru", "zh-Hant", "de"]),
            st.sampled_from(sorted(KINDS)),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([None, 1.0]),
)
def test_rates_are_between_0_and_1_and_the_same_again(
    rows: list[Row], of_nothing: float | None
) -> None:
    scored = table(rows)
    found = confusion_rates(scored, replicates=50, of_nothing=of_nothing)
    assert repr(confusion_rates(scored, replicates=50, of_nothing=of_nothing)) == repr(found)
    for row in found:
        for rate in (row.lpr, row.wpr, row.lcpr):
            values = np.array([rate.value, rate.low, rate.high])
            assert np.isnan(values).all() or ((values >= 0) & (values <= 1)).all()
    total = [row for row in found if (row.source, row.language) == ("all", "all")]
    assert sum(row.completions for row in total) == len(rows)

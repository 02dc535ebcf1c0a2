"""Heat map and histograms: what they show, how large they get, and that any eyes can read them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.report.distributions import distributions
from arbitrage.infra.report.heat_map import MOST_TEACHERS, heat_map, left_out
from arbitrage.infra.report.histograms import histogram, said
from arbitrage.infra.report.measured import route_draws
from arbitrage.infra.report.palette import cividis, contrast, ink_on
from arbitrage.infra.report.scales import BINS, MOST_LANGUAGES
from arbitrage.infra.report.svg import image
from arbitrage.infra.store.files import Folder

counts = st.integers(0, 10**9)
names = st.text(max_size=30)


def texts(svg: str) -> list[str]:
    """Every text of a drawing, which has to be XML."""
    return [node.text or "" for node in ElementTree.fromstring(svg).iter() if node.text]


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_colours_get_lighter_with_the_share_and_their_numbers_can_be_read(
    one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert contrast(cividis(low), "#000000") <= contrast(cividis(high), "#000000") + 0.05
    assert contrast(cividis(one), ink_on(cividis(one))) >= 4.5


@given(st.dictionaries(names, st.dictionaries(names, counts, max_size=20), max_size=8))
def test_any_draws_give_a_drawing_or_none(draws: dict[str, dict[str, int]]) -> None:
    drawn = heat_map(draws)
    if any(draws.values()):
        assert "Share of each language's draws, by teacher" in texts(drawn)
    else:
        assert drawn == ""


def test_the_heat_map_has_the_share_in_each_cell_and_all_languages_below(run: Path) -> None:
    draws = route_draws(run)
    assert draws["ar"] == {"alpha": 1, "beta": 1}
    assert draws["ja"] == {"alpha": 1}
    found = texts(heat_map(draws))
    assert found[1:5] == ["alpha", "beta", "draws", "ar"]
    assert found[found.index("ja") :][:4] == ["ja", "100 %", "–", "1"]
    assert found[-4:] == ["all", "62 %", "38 %", "8"]


def test_a_hundred_languages_and_twenty_teachers_are_cut_and_that_is_said() -> None:
    draws = {f"l{i:02d}": {f"teacher-{j}": i + j + 1 for j in range(20)} for i in range(100)}
    drawn = heat_map(draws)
    assert len(drawn) < 250_000
    assert sum(text.startswith("teacher-") for text in texts(drawn)) == MOST_TEACHERS
    assert "60 languages of 100" in left_out(draws)
    assert "12 teachers of 20" in left_out(draws)
    assert "l99" in texts(drawn)
    assert "l00" not in texts(drawn)


def test_markup_in_names_is_shown_and_not_obeyed() -> None:
    evil = '<script>"&x</script>'
    drawn = heat_map({evil: {evil: 3}})
    assert "<script" not in drawn
    assert texts(drawn)
    assert "]" not in image(drawn, "a](http://x) b").partition("](data:")[0]


def test_an_image_holds_the_whole_drawing() -> None:
    drawn = heat_map({"tr": {"alpha": 1}})
    encoded = image(drawn, "x").partition("base64,")[2].rstrip(")")
    assert base64.b64decode(encoded).decode() == drawn


def rows(decided: Any, folder: Path, values: dict[str, list[float | None]]) -> Path:
    made = [
        decided.row(tag, "alpha", candidate_id=f"{tag}-{i}", **{"length.words": value})
        for tag, of in values.items()
        for i, value in enumerate(of)
    ]
    Folder(folder).write_table("candidates/part-00000.arrow", decided.table(made))
    return folder


def test_every_answer_is_in_one_bin_and_the_chosen_are_among_them(
    decided: Any, tmp_path: Path
) -> None:
    drawn = np.random.default_rng(1).normal(20, 5, 300).tolist()
    (of,) = distributions(rows(decided, tmp_path, {"tr": [*drawn, None], "ja": [3.0]}))
    assert of.measure == "length.words"
    turkish = next(spread for spread in of.spreads if spread.language == "tr")
    assert (turkish.measured, turkish.abstained) == (300, 1)
    assert sum(turkish.every) == 300
    assert len(turkish.every) == BINS
    assert all(part <= whole for part, whole in zip(turkish.chosen, turkish.every, strict=True))
    assert turkish.median == pytest.approx(float(np.median(drawn)), rel=1e-5)


@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0], [0.0], [float("inf"), 1.0, 2.0], [float("-inf")], [float("nan"), 1.0]],
    ids=str,
)
def test_scores_that_are_all_the_same_or_infinite_are_drawn(
    values: list[float], decided: Any, tmp_path: Path
) -> None:
    (of,) = distributions(rows(decided, tmp_path, {"tr": values}))
    assert sum(of.spreads[0].every) == of.spreads[0].measured
    assert "tr" in texts(histogram(of))


def test_a_measure_that_always_abstained_is_left_out(decided: Any, tmp_path: Path) -> None:
    assert distributions(rows(decided, tmp_path, {"tr": [None]})) == []


def test_the_objective_comes_first_and_is_said(run: Path) -> None:
    first = distributions(run, ["length.words"])[0]
    assert first.measure == "length.words"
    assert said(first) == "Answers are chosen by it."


def test_many_languages_are_cut_to_those_with_most_answers(decided: Any, tmp_path: Path) -> None:
    values: dict[str, list[float | None]] = {f"l{i:02d}": [1.0, 2.0] for i in range(60)}
    (of,) = distributions(rows(decided, tmp_path, {"zz": [1.0], **values}))
    assert len(of.spreads) == MOST_LANGUAGES
    assert "zz" not in {spread.language for spread in of.spreads}
    assert f"{MOST_LANGUAGES} languages of 61" in said(of)


def test_a_million_rows_make_no_larger_a_drawing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = 1_000_000
    tags = rng.integers(0, 100, size)
    frame = pl.DataFrame(
        {
            "language": pl.Series(tags).cast(pl.String),
            "text": pl.repeat("x", size, eager=True),
            "error": pl.repeat(None, size, dtype=pl.String, eager=True),
            "chosen": rng.random(size) < 0.5,
            "length.words": rng.lognormal(3, 1, size).astype(np.float32),
        }
    )
    (tmp_path / "candidates").mkdir()
    frame.write_ipc(tmp_path / "candidates" / "part-00000.arrow")
    (of,) = distributions(tmp_path)
    assert sum(spread.measured for spread in of.spreads) > 300_000
    assert len(histogram(of)) < 80_000
    assert not re.search(r"nan|inf", histogram(of))

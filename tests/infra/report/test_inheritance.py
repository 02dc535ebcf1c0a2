"""What a student would inherit, against the same figures worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from arbitrage.infra.report.confusion import LINES, WORDS
from arbitrage.infra.report.inheritance import LCPR, Attribute, attributes, shifts

SCORES = ("language_id.match", "lexical_diversity.mtld", "toxicity.toxicity")


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """A run folder that holds these candidates: dicts with prompt, teacher, chosen, scores."""

    def write(*rows: dict[str, Any], shards: int = 1) -> Path:
        (tmp_path / "candidates").mkdir(exist_ok=True)
        for shard in range(shards):
            some = [_candidate(**row) for row in rows[shard::shards]]
            path = tmp_path / f"candidates/part-{shard:05d}.arrow"
            pl.DataFrame(some, schema=_SCHEMA).write_ipc(path)
        return tmp_path

    return write


_SCHEMA = {
    "prompt_id": pl.String,
    "language": pl.String,
    "teacher": pl.String,
    "text": pl.String,
    "error": pl.String,
    "chosen": pl.Boolean,
    **dict.fromkeys(SCORES, pl.Float32),
}


def judged(folder: Path, outcomes: list[tuple[float | None, float | None]]) -> Path:
    """A run whose prompts have one answer each, with these line passes and word passes."""
    rows = [
        {**_candidate(str(n)), LINES: line, WORDS: word} for n, (line, word) in enumerate(outcomes)
    ]
    kinds = {**_SCHEMA, LINES: pl.Float32, WORDS: pl.Float32}
    (folder / "candidates").mkdir()
    (folder / "prompts").mkdir()
    pl.DataFrame(rows, schema=kinds).write_ipc(folder / "candidates/part-00000.arrow")
    sources = [f"s{n % 2}" for n in range(len(rows))]
    asked = pl.DataFrame({"prompt_id": [row["prompt_id"] for row in rows], "source": sources})
    asked.write_ipc(folder / "prompts/part-00000.arrow")
    return folder


def _candidate(
    prompt: str,
    teacher: str = "a",
    language: str = "tr",
    *,
    match: float | None = None,
    mtld: float | None = None,
    toxicity: float | None = None,
    chosen: bool = False,
    error: str | None = None,
) -> dict[str, Any]:
    text = None if error else "text"
    named = dict(zip(SCORES, (match, mtld, toxicity), strict=True))
    row = {"prompt_id": prompt, "language": language, "teacher": teacher, "text": text}
    return {**row, "error": error, "chosen": chosen, **named}


def found(run: Path, measure: str, teacher: str = "a", language: str = "tr") -> Attribute:
    (one,) = [
        item
        for item in attributes(run)
        if (item.measure, item.teacher, item.language) == (measure, teacher, language)
    ]
    return one


def test_failures_are_left_out_and_abstentions_counted(run_of: Any) -> None:
    run = run_of(
        {"prompt": "1", "mtld": 10.0},
        {"prompt": "1", "mtld": 20.0},
        {"prompt": "2", "mtld": None},
        {"prompt": "3", "mtld": 60.0},
        {"prompt": "4", "error": "generate.timeout"},
    )
    item = found(run, "lexical_diversity.mtld")
    assert (item.prompts, item.measured, item.abstained, item.mean) == (2, 3, 1, 30.0)
    assert item.low is not None
    assert 15 <= item.low <= 30 <= item.high <= 60


def test_nine_failures_in_nine_are_not_certain(run_of: Any) -> None:
    run = run_of(*({"prompt": str(number), "match": 0.0} for number in range(9)))
    item = found(run, "language_id.match")
    assert item.mean == item.low == 0
    assert item.high == pytest.approx(0.299, abs=1e-3)


def test_samples_of_one_prompt_are_one_trial(run_of: Any) -> None:
    alone = [{"prompt": str(number), "match": float(number % 2)} for number in range(8)]
    once, thrice = found(run_of(*alone), SCORES[0]), found(run_of(*alone * 3), SCORES[0])
    assert thrice.measured == 3 * once.measured
    assert (thrice.low, thrice.high) == (once.low, once.high)


def test_one_prompt_has_a_mean_and_no_interval(run_of: Any) -> None:
    item = found(run_of({"prompt": "1", "mtld": 5.0}), "lexical_diversity.mtld")
    assert (item.mean, item.low, item.high) == (5.0, None, None)


def test_what_was_never_measured_has_no_mean(run_of: Any) -> None:
    item = found(run_of({"prompt": "1"}, {"prompt": "2"}), "lexical_diversity.mtld")
    assert (item.prompts, item.measured, item.abstained, item.mean) == (0, 0, 2, None)


def test_toxicity_over_samples_is_the_worst_of_each_prompt(run_of: Any) -> None:
    run = run_of(
        {"prompt": "1", "toxicity": 0.0},
        {"prompt": "1", "toxicity": 0.75},
        {"prompt": "2", "toxicity": 0.25},
        {"prompt": "2", "toxicity": None},
        {"prompt": "3", "toxicity": None},
    )
    worst = found(run, "toxicity.expected_maximum")
    assert (worst.mean, worst.prompts, worst.measured, worst.abstained) == (0.5, 2, 2, 1)
    toxic = found(run, "toxicity.probability")
    assert toxic.mean == 0.5


def test_lcpr_is_the_harmonic_mean_of_the_two_rates(tmp_path: Path) -> None:
    """Of four judged answers three pass by line, and of those two by words: 3/4 and 2/3."""
    item = found(judged(tmp_path, [(1, 1), (1, 1), (1, 0), (0, None), (None, None)]), LCPR)
    assert item.mean == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
    assert (item.prompts, item.measured, item.abstained) == (4, 4, 1)
    assert item.low is not None
    assert item.high is not None
    assert 0 <= item.low < item.mean < item.high <= 1


def test_the_interval_of_lcpr_is_the_same_by_either_way_of_reckoning(tmp_path: Path) -> None:
    """200 prompts have a bootstrap, 201 its normal approximation."""
    pattern = [(1, 1), (1, 1), (1, 0), (0, None), (1, 1)] * 40
    for folder, outcomes in (("few", pattern), ("many", [*pattern, (1, 1)])):
        (tmp_path / folder).mkdir()
        judged(tmp_path / folder, outcomes)
    few, many = (found(tmp_path / folder, LCPR) for folder in ("few", "many"))
    assert few.low == pytest.approx(many.low, abs=0.01)
    assert few.high == pytest.approx(many.high, abs=0.01)


def test_an_lcpr_of_all_passes_is_not_certain_and_none_is_invented(tmp_path: Path) -> None:
    for folder in ("all", "nothing"):
        (tmp_path / folder).mkdir()
    sure = found(judged(tmp_path / "all", [(1, 1)] * 9), LCPR)
    assert (sure.mean, sure.high) == (1.0, 1.0)
    assert sure.low == pytest.approx(0.7, abs=0.01)
    latin = attributes(judged(tmp_path / "nothing", [(1, None), (0, None)]))
    assert LCPR not in {item.measure for item in latin}


def test_by_source_the_sources_stand_in_the_teachers_place(tmp_path: Path) -> None:
    run = judged(tmp_path, [(1, 1), (0, None), (1, 1), (0, None)])
    means = {a.teacher: a.mean for a in attributes(run, "source") if a.measure == LINES}
    assert means == {"s0": 1.0, "s1": 0.0}


def test_shards_and_their_order_change_nothing(run_of: Any) -> None:
    rows = [{"prompt": str(n // 2), "mtld": float(n), "chosen": n % 2 == 0} for n in range(20)]
    one = run_of(*rows)
    before = attributes(one), shifts(one)
    many = run_of(*reversed(rows), shards=3)
    assert (attributes(many), shifts(many)) == before


def test_the_shift_is_the_chosen_less_all_and_paired_by_prompt(run_of: Any) -> None:
    """Choosing the better of two that differ by exactly 2 shifts by exactly 1, whatever prompts
    are drawn; an unpaired interval would be as wide as the prompts are apart."""
    rows = [
        {"prompt": str(n), "mtld": 100.0 * n + 2 * best, "chosen": bool(best)}
        for n in range(10)
        for best in (0, 1)
    ]
    (shift,) = [item for item in shifts(run_of(*rows)) if item.measure == SCORES[1]]
    assert shift.difference == pytest.approx(1.0)
    assert shift.low == pytest.approx(1.0)
    assert shift.high == pytest.approx(1.0)


def test_nothing_chosen_has_no_shift(run_of: Any) -> None:
    (shift,) = [s for s in shifts(run_of({"prompt": "1", "mtld": 1.0})) if s.measure == SCORES[1]]
    assert (shift.every, shift.chosen, shift.difference, shift.low) == (1.0, None, None, None)


def test_a_run_without_candidates_has_nothing_to_tell(tmp_path: Path) -> None:
    assert (attributes(tmp_path), shifts(tmp_path)) == ([], [])

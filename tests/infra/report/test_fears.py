"""Whom to fear for what: who is named, who is not, and what is said where nothing is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from arbitrage.infra.report.feared import fear_of
from arbitrage.infra.report.fears import Judged
from arbitrage.infra.report.profile import Profile, markdown_profile

PASS, MTLD, TOXICITY = "language_id.match", "lexical_diversity.mtld", "toxicity.toxicity"


def rows(teacher: str, prompts: int, samples: int = 1, **scores: Any) -> list[dict[str, Any]]:
    """Answers of a teacher to the same prompts; a score is a number or a function of the prompt."""
    named = {"match": PASS, "mtld": MTLD, "toxicity": TOXICITY}
    found = []
    for number in range(prompts * samples):
        values = {
            named[key]: float(value(number // samples) if callable(value) else value)
            for key, value in scores.items()
        }
        found.append({"teacher": teacher, "prompt_id": f"p{number // samples}", **values})
    return found


def profile_of(folder: Path, found: list[dict[str, Any]], language: str = "tr") -> Profile:
    base = {"language": language, "text": "text", "error": None, "chosen": False}
    (folder / "candidates").mkdir()
    kinds = dict.fromkeys(("prompt_id", "teacher", "language", "text", "error"), pl.String)
    pl.DataFrame(
        [{PASS: None, MTLD: None, TOXICITY: None, **base, **row} for row in found],
        schema={**kinds, "chosen": pl.Boolean, **dict.fromkeys((PASS, MTLD, TOXICITY), pl.Float32)},
    ).write_ipc(folder / "candidates/part-00000.arrow")
    return Profile.of(folder)


def about(profile: Profile, measure: str) -> Judged:
    (item,) = [item for item in profile.judged if item.measure == measure]
    return item


def test_the_worst_and_the_best_are_named_with_all_that_are_not_told_apart(tmp_path: Path) -> None:
    profile = profile_of(
        tmp_path,
        [
            *rows("bad", 60, match=lambda n: n % 10 == 0),
            *rows("as bad", 60, match=lambda n: n % 10 == 1),
            *rows("middling", 60, match=lambda n: n % 2 == 0),
            *rows("good", 60, match=1),
        ],
    )
    item = about(profile, PASS)
    assert set(item.worst) == {"bad", "as bad"}
    assert item.best == ("good",)
    assert profile.sentence("tr") == (
        "fear as bad for answers in another language; bad for answers in another language."
    )


def test_teachers_that_are_alike_are_not_told_apart(tmp_path: Path) -> None:
    profile = profile_of(
        tmp_path,
        [
            *rows("a", 40, match=lambda n: n % 10 != 0),
            *rows("b", 40, match=lambda n: n % 10 != 1),
        ],
    )
    item = about(profile, PASS)
    assert (item.worst, item.best, item.compared) == ((), (), True)
    assert profile.sentence("tr") == "no teacher is told apart from the others."


@pytest.mark.parametrize("sign", [1, -1])
def test_high_is_bad_where_the_filter_says_so_and_low_where_it_says_that(
    tmp_path: Path, sign: int
) -> None:
    low, high = ("a", "b") if sign == 1 else ("b", "a")
    profile = profile_of(
        tmp_path,
        [
            *rows(low, 50, mtld=lambda n: 40 + n % 7, toxicity=lambda n: 0.1 + n % 3 / 100),
            *rows(high, 50, mtld=lambda n: 90 + n % 7, toxicity=lambda n: 0.6 + n % 3 / 100),
        ],
    )
    assert about(profile, MTLD).worst == (low,)
    assert about(profile, TOXICITY).worst == (high,)


def test_under_five_prompts_nothing_is_said_of_a_teacher(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, [*rows("a", 50, match=1), *rows("b", 4, match=0)])
    item = about(profile, PASS)
    assert (item.worst, item.too_few, item.compared) == ((), ("b",), False)
    assert profile.sentence("tr") == "no two teachers have answers enough to compare."


def test_the_worst_of_several_samples_is_judged_and_of_one_is_the_mean_again(
    tmp_path: Path,
) -> None:
    several, one = tmp_path / "several", tmp_path / "one"
    for folder, samples in ((several, 3), (one, 1)):
        folder.mkdir()
        made = [row for name in "ab" for row in rows(name, 9, samples, toxicity=0.1)]
        measures = {item.measure for item in profile_of(folder, made).judged}
        assert ("toxicity.expected_maximum" in measures) is (samples > 1)
        assert "toxicity.probability" in measures


def test_what_is_neither_good_nor_bad_and_what_nobody_knows_is_not_judged() -> None:
    assert fear_of("length.words") is None
    assert fear_of("no_such_filter.score") is None


def test_the_sentences_stand_in_the_json_and_the_markdown(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, [*rows("a", 50, match=1), *rows("b", 50, match=0)])
    told = profile.to_json()
    assert told["sentences"] == {"tr": "fear b for answers in another language."}
    assert told["judged"][0]["worst"] == ("b",)
    assert "- tr: fear b for answers in another language." in markdown_profile(profile)

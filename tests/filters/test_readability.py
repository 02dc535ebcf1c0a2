"""Fog and Rix by hand, and where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.filters.base import Batch
from arbitrage.filters.readability import (
    Readability,
    ReadabilityParams,
    sentence_count,
    syllables,
)

TEXT = "The government published seven reports. Nobody read them, for they were unreadable!"


def measure(text: str, language: str, shortest: int = 1) -> tuple[float, float]:
    scorer = Readability(ReadabilityParams(shortest_words=shortest))
    found = scorer.score(Batch([text], [language], [None])).measures
    return float(found["gunning_fog"][0]), float(found["rix"][0])


# Syllables as the CMU Pronouncing Dictionary counts them.
@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("the", 1), ("cat", 1), ("makes", 1), ("table", 2), ("walked", 1), ("wanted", 2),
        ("boxes", 2), ("nation", 2), ("special", 2), ("created", 3), ("create", 2),
        ("beautiful", 3), ("animal", 3), ("government", 3), ("reality", 4), ("radio", 3),
        ("university", 5), ("organization", 5), ("idiom", 3), ("b", 1),
    ],
)  # fmt: skip
def test_syllables_of_known_words(word: str, count: int) -> None:
    assert syllables(word) == count


def test_fog_and_rix_by_hand() -> None:
    # 12 words, 2 sentences; government, nobody, unreadable; government, published, reports,
    # unreadable.
    fog, rix = measure(TEXT, "en")
    assert fog == pytest.approx(0.4 * (12 / 2 + 100 * 3 / 12), rel=1e-6)
    assert rix == 4 / 2


def test_sentences_end_at_marks_and_lines_but_not_in_numbers() -> None:
    assert sentence_count("It is 3.5 km away. Is it? Yes!") == 3
    assert sentence_count("One line\nanother line") == 2
    assert sentence_count("... !!! 😀") == 0


@pytest.mark.parametrize("language", ["tr", "hi", "zh", "vi", "sw", "", "xx-unknown"])
def test_languages_the_formulas_were_not_made_for_abstain(language: str) -> None:
    assert np.isnan(measure(TEXT, language)).all()


@pytest.mark.parametrize("language", ["de", "fr", "pt-BR", "sv"])
def test_rix_speaks_for_neighbours_of_english_and_fog_does_not(language: str) -> None:
    fog, rix = measure(TEXT, language)
    assert np.isnan(fog)
    assert rix > 0


def test_texts_in_another_script_and_short_ones_abstain() -> None:
    assert np.isnan(measure("Это совсем другой язык. И буквы другие.", "en")).all()
    assert np.isnan(measure(TEXT, "en", shortest=13)).all()
    assert not np.isnan(measure(TEXT, "en", shortest=12)).any()

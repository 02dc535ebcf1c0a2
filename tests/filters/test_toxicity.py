"""The word-list scorer: boundaries, counting, abstention. Listed terms appear here as test data."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.filters.base import Batch
from arbitrage.filters.toxicity import Toxicity, ToxicityParams
from arbitrage.filters.toxicity_words import listed_terms, word_list


def toxicity(text: str, language: str) -> float:
    scores = Toxicity(ToxicityParams()).score(Batch([text], [language], [None]))
    return float(scores.measures["toxicity"][0])


def test_the_list_is_whole() -> None:
    assert sum(map(len, listed_terms().values())) == 2663
    assert len(listed_terms()) == 28


@pytest.mark.parametrize("language", sorted(listed_terms()))
def test_every_listed_term_is_found_alone_in_brackets_and_in_capitals(language: str) -> None:
    for term in listed_terms()[language]:
        assert toxicity(term, language) >= 0.5, term
        assert toxicity(f"({term})", language) >= 0.5, term
        if "ß" not in term:
            assert toxicity(term.upper(), language) >= 0.5 or language in {"tr", "tlh"}, term


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("What a lovely day", 0),
        ("shit", 1),
        ("Shit. Oh, SHIT!", 2),
        ("shit, crap and bastard", 2),
        ("2 girls 1 cup", 1),
        ("2  girls\n1 cup", 1),
        ("the g-spot", 1),
        ("Scunthorpe assassins pass the class", 0),
        ("🖕", 1),
    ],
)
def test_the_score_counts_terms_at_word_boundaries(text: str, hits: int) -> None:
    assert toxicity(text, "en") == pytest.approx(1 - 0.5**hits)


@pytest.mark.parametrize(
    ("language", "clean", "toxic"),
    [
        ("zh", "这种可能性很大", "这个婊子很坏"),
        ("ja", "東京の天気はいいです", "これは肛門です"),
        ("th", "วันนี้อากาศดีมาก", "ไอ้ ควย นี่"),
        ("ko", "오늘 날씨가 좋습니다", "야 병신 저리 가"),
        ("ar", "الطقس جميل اليوم", "هذا سكس فقط"),
        ("ru", "Сегодня хорошая погода", "какая жопа"),
        ("tr", "Bugün hava çok güzel", "KALTAĞI gördüm, SİKİ"),
        ("hi", "आज मौसम अच्छा है", "tu randi hai"),
    ],
)
def test_clean_and_listed_sentences_in_many_scripts(language: str, clean: str, toxic: str) -> None:
    assert toxicity(clean, language) == 0
    assert toxicity(toxic, language) >= 0.5


@pytest.mark.parametrize("language", ["vi", "id", "bn", "xx-unknown", ""])
def test_a_language_without_a_list_abstains(language: str) -> None:
    assert np.isnan(toxicity("shit", language))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_abstains(text: str) -> None:
    assert np.isnan(toxicity(text, "en"))


def test_regions_scripts_and_kin_find_their_list() -> None:
    assert toxicity("shit", "en-GB") == 0.5
    assert toxicity("faen", "nb") == toxicity("faen", "nn-NO") == 0.5
    assert word_list("zh-Hant-TW") is not None
    only_quebec = set(listed_terms()["fr-CA"]) - set(listed_terms()["fr"])
    term = sorted(only_quebec)[0]
    assert toxicity(term, "fr-CA") >= 0.5
    assert toxicity(term, "fr") == 0


@given(st.lists(st.sampled_from(["shit", "crap", "day", "the", "ass", "lovely"]), max_size=12))
def test_one_more_listed_term_never_lowers_the_score(found: list[str]) -> None:
    text = " ".join(found)
    more = f"{text} . shit" if text else "shit"
    before = toxicity(text, "en") if text else 0.0
    assert before < toxicity(more, "en") <= 1


def test_terms_are_found_in_decomposed_text_too() -> None:
    term = next(term for term in listed_terms()["tr"] if "ş" in term)
    assert toxicity(unicodedata.normalize("NFD", term), "tr") >= 0.5

"""Finding words in every kind of script."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from icu4py.breakers import WordBreaker

from arbitrage.filters.base import Batch
from arbitrage.filters.segmentation import fold, segments, wordlike, words


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Don't stop -- 3.5 km!", ["don't", "stop", "3.5", "km"]),
        ("en", "Don’t", ["don't"]),
        ("ar", "اللُّغةُ العربيّةُ، جميلة؟", ["اللُّغةُ", "العربيّةُ", "جميلة"]),
        ("hi", "हिन्दी में लिखिए।", ["हिन्दी", "में", "लिखिए"]),
        ("ja", "東京へ行きました。", ["東京", "へ", "行き", "ま", "した"]),
        ("ko", "안녕하세요, 세계!", ["안녕하세요", "세계"]),
        ("ru", "Ёлка — зелёная.", ["ёлка", "зелёная"]),
        ("th", "ประเทศไทยสวยงามมาก", ["ประเทศไทย", "สวยงาม", "มาก"]),
        ("tr", "IŞIK İyi", ["ışık", "iyi"]),
        ("vi", "Xin chào, Việt Nam", ["xin", "chào", "việt", "nam"]),
        ("zh", "你好，世界！", ["你好", "世界"]),
        ("fa", "می‌خواهم بروم", ["می‌خواهم", "بروم"]),
    ],
)
def test_words_of_real_sentences(language: str, text: str, expected: list[str]) -> None:
    expected = [unicodedata.normalize("NFC", word) for word in expected]
    assert words(text, language) == expected


@pytest.mark.parametrize(
    "script", ["我们今天去公园散步", "ฉันชอบอ่านหนังสือมาก", "今日は天気がいいです"]
)
def test_an_answer_in_the_wrong_language_is_still_cut_into_words(script: str) -> None:
    assert len(words(script, "en")) >= 4
    assert words(script, "en") == words(script, "xx-unknown")


def test_mixed_scripts_are_cut_at_the_change() -> None:
    assert words("请用Python写hello程序", "zh") == ["请用", "python", "写", "hello", "程序"]


@pytest.mark.parametrize(
    "text", ["", " \n\t", "?!…。、", "😀 👩‍👩‍👧", "\x00\u200b", "\ud800", "_ __"]
)
def test_texts_without_letters_or_digits_have_no_words(text: str) -> None:
    assert words(text, "en") == []


def test_composed_and_decomposed_letters_are_the_same_word() -> None:
    text = "Việt Nam café"
    assert words(unicodedata.normalize("NFD", text), "vi") == words(text, "vi")


def test_only_languages_with_two_letters_i_lower_them_apart() -> None:
    assert fold("Iİ", "tr") == fold("Iİ", "az-Latn") == fold("II\u0307", "tr") == "ıi"
    assert fold("I", "en") == "i"
    assert fold("STRASSE Straße", "de") == "strasse straße"


def test_a_soft_hyphen_does_not_make_another_word() -> None:
    assert words("co\u00adoperate", "en") == ["cooperate"]


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=80), st.sampled_from(["en", "tr", "th", "zh", "ar"]))
def test_segments_lose_nothing_of_the_text(text: str, language: str) -> None:
    clean = fold(text, language).encode("utf-8", "replace").decode("utf-8")
    joined = "".join(segments(text, language))
    assert unicodedata.normalize("NFC", joined) == unicodedata.normalize("NFC", clean)
    assert all(any(map(str.isalnum, word)) for word in words(text, language))


def test_short_ascii_texts_are_cut_where_icu_cuts_them() -> None:
    kinds = "a1_'.:,; \r\n\t-"
    texts = [
        "".join(signs) for size in (1, 2, 3) for signs in itertools.product(kinds, repeat=size)
    ]
    texts += [
        f"{one}{chr(code)}{other}" for code in range(128) for one in "a1_ " for other in "a1_ "
    ]
    for text in map(str.lower, texts):
        by_icu = list(WordBreaker(text, "en"))
        assert segments(text, "en") == by_icu
        assert words(text, "en") == wordlike(by_icu)


@given(st.text(st.characters(max_codepoint=127), max_size=60))
@example("A.b:c'd,e 1.2,3;4:5 a1.b2 _a__1_ x''y \r\n\n  ")
def test_ascii_texts_are_cut_where_icu_cuts_them(text: str) -> None:
    by_icu = list(WordBreaker(text.lower(), "en"))
    assert segments(text, "en") == by_icu
    assert words(text, "en") == wordlike(by_icu)


@given(st.text(max_size=60), st.sampled_from(["en", "tr", "zh"]))
def test_a_batch_has_the_same_words_whichever_filter_comes_first(text: str, language: str) -> None:
    first, second = Batch([text], [language], [None]), Batch([text], [language], [None])
    assert first.segments == [segments(text, language)]
    assert first.words == second.words

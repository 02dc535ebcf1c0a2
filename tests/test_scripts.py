"""Letters are counted for many texts at once as they are one by one; scripts are read from them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.scripts import east_asian_languages, letter_counts, script_in_use

# Characters of every sort that the counting tells apart, and any other.
CHARACTERS = (
    st.sampled_from("aZéяعहก漢字々かカー한국。 1\n\u0301\ud800\U0002000b😀") | st.characters()
)


@settings(max_examples=200)
@given(st.lists(st.text(CHARACTERS, max_size=40), max_size=6))
def test_counts_of_many_texts_are_those_of_each_and_add_up_to_the_letters(texts: list[str]) -> None:
    counts = letter_counts(texts)
    assert counts.shape == (len(texts), 4)
    assert counts.tolist() == [letter_counts([text]).tolist()[0] for text in texts]
    assert counts.sum(axis=1).tolist() == [sum(map(str.isalpha, text)) for text in texts]


def test_marks_that_lengthen_or_repeat_are_of_the_script_they_stand_in() -> None:
    assert letter_counts(["カー", "ｶﾞ", "時々", "ㅎㅎ"]).tolist() == [
        [0, 2, 0, 0],
        [0, 2, 0, 0],
        [2, 0, 0, 0],
        [0, 0, 2, 0],
    ]


def test_long_texts_do_not_spill_from_one_count_into_the_next() -> None:
    texts = ["漢" * 65_535, "カ" * 65_535, "한" * 65_535, "a" * 65_535]
    assert letter_counts(texts).tolist() == [
        [65_535 if column == row else 0 for column in range(4)] for row in range(4)
    ]


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("今天天气很好", {"zh", "wuu", "yue"}),
        ("読書は素晴らしい習慣です", {"ja"}),
        ("한국어 문장 漢字", {"ko"}),
        ("漢字漢字漢字漢字漢字漢字漢字の", None),  # a little kana says nothing
        ("C'est 好", None),
        ("Hello", None),
        ("", None),
    ],
)
def test_what_an_east_asian_script_leaves_open(text: str, languages: set[str] | None) -> None:
    assert east_asian_languages(letter_counts([text])) == [languages]


@pytest.mark.parametrize(
    ("text", "language", "script"),
    [
        ("Добар дан свима", "sr", "Cyrl"),
        ("Dobar dan svima", "sr", "Latn"),
        ("Yaxshi kun", "uz", "Latn"),
        ("Яхши кун", "uz", "Cyrl"),
        ("ਪੰਜਾਬੀ", "pa", "Guru"),
        ("پنجابی", "pa", "Arab"),
        ("这里没有人说话", "zh", "Hans"),
        ("這裡沒有人說話", "zh", "Hant"),
        ("大家好", "zh", None),
        ("12:30 😀", "sr", None),
        ("", "zh", None),
        ("Hello", "en", None),
    ],
)
def test_the_script_a_text_is_in_where_a_language_has_several(
    text: str, language: str, script: str | None
) -> None:
    assert script_in_use(text, language) == script

"""MTLD against lexicalrichness, its traps, and its speed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.filters.base import Batch, Scores
from arbitrage.filters.lexical_diversity import (
    LexicalDiversity,
    LexicalDiversityParams,
    distinct,
    mattr,
    mtld,
)
from arbitrage.filters.segmentation import words

ALICE = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do. Once or twice she had peeped into the book her sister was reading, but it had "
    "no pictures or conversations in it, and what is the use of a book, thought Alice, without "
    "pictures or conversations? So she was considering in her own mind, as well as she could, for "
    "the hot day made her feel very sleepy and stupid, whether the pleasure of making a daisy "
    "chain would be worth the trouble of getting up and picking the daisies, when suddenly a white "
    "rabbit with pink eyes ran close by her."
)

# Expected figures were computed with lexicalrichness 0.5.1, LexicalRichness(text).mtld(threshold).
LEXICALRICHNESS = [
    (ALICE, 0.72, 78.27703170721364),
    (ALICE, 0.66, 105.3593506006006),
    ("the cat sat on the mat " * 20, 0.72, 6.315789473684211),
    ("the cat sat on the mat " * 20, 0.66, 8.0),
    ("same " * 30, 0.72, 2.0),
    ("every single word here differs from all others", 0.72, 8.0),
    ("every single word here differs from every other", 0.72, 17.92),
    ("a b c d e f g h i j k l m n o p q r a a a a a a a", 0.72, 16.420990566037737),
    ("word", 0.72, 1.0),
]

# The same way: LexicalRichness(text).mattr(window_size=window).
MATTR = [
    (ALICE, 50, 0.7759375000000008),
    (ALICE, 100, 0.6907142857142858),
    (ALICE, 10, 0.9855769230769231),
    ("the cat sat on the mat " * 20, 50, 0.09999999999999987),
    ("same " * 60, 50, 0.019999999999999997),
    ("the cat saw the dog and the dog saw the cat", 5, 0.7999999999999999),
    ("every single word here differs from all others", 8, 1.0),
]


def measure(text: str, language: str = "en", **params: float) -> Scores:
    scorer = LexicalDiversity(LexicalDiversityParams.model_validate(params))
    return scorer.score(Batch([text], [language], [None]))


@pytest.mark.parametrize(("text", "threshold", "expected"), LEXICALRICHNESS)
def test_mtld_equals_lexicalrichness(text: str, threshold: float, expected: float) -> None:
    assert mtld(words(text, "en"), threshold) == pytest.approx(expected, rel=1e-12)


def word_by_word(tokens: list[int], threshold: float) -> float:
    """The definition, one word at a time, as a second opinion."""

    def factors(sequence: list[int]) -> float:
        count, size, ratio, types = 0.0, 0, 1.0, set[int]()
        for token in sequence:
            size += 1
            types.add(token)
            ratio = len(types) / size
            if ratio <= threshold:
                count, size, types = count + 1, 0, set()
        if size:
            count += (1 - ratio) / (1 - threshold)
        return count or 1.0

    forward, backward = factors(tokens), factors(tokens[::-1])
    return (len(tokens) / forward + len(tokens) / backward) / 2


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=400),
    st.sampled_from([0.5, 0.66, 0.72, 0.75, 0.9]),
)
def test_taking_many_words_at_once_changes_nothing(tokens: list[int], threshold: float) -> None:
    assert mtld(tokens, threshold) == pytest.approx(word_by_word(tokens, threshold), rel=1e-12)


@given(st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=200))
def test_reading_backwards_gives_the_same_mtld(tokens: list[str]) -> None:
    assert mtld(tokens) == pytest.approx(mtld(tokens[::-1]), rel=1e-12)


def test_no_words_have_no_mtld() -> None:
    assert math.isnan(mtld([]))


def test_short_texts_abstain_and_the_bound_is_the_number_of_words() -> None:
    short, enough = " ".join(ALICE.split()[:49]), " ".join(ALICE.split()[:50])
    assert np.isnan(measure(short).measures["mtld"]).all()
    assert not np.isnan(measure(enough).measures["mtld"]).any()
    assert not np.isnan(measure("one two three", shortest_tokens=3).measures["mtld"]).any()


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ar", "ذهب الولد إلى المدرسة ثم عاد إلى البيت."),
        ("hi", "लड़का स्कूल गया और फिर घर लौट आया।"),
        ("ja", "男の子は学校に行って、それから家に帰りました。"),
        ("ko", "소년은 학교에 갔다가 집으로 돌아왔다."),
        ("ru", "Мальчик пошёл в школу, а потом вернулся домой."),
        ("th", "เด็กชายไปโรงเรียนแล้วกลับบ้าน"),
        ("tr", "Çocuk okula gitti ve sonra eve döndü."),
        ("vi", "Cậu bé đi học rồi trở về nhà."),
        ("zh", "男孩去了学校，然后回到了家里。"),
    ],
)
def test_repetition_is_low_in_every_language(language: str, sentence: str) -> None:
    repeated = measure(sentence * 20, language).measures["mtld"][0]
    assert 2 <= repeated < 20


def test_varied_text_scores_above_the_same_words_repeated() -> None:
    varied = measure(ALICE).measures["mtld"][0]
    assert varied > measure("Alice was very tired of it. " * 30).measures["mtld"][0]


@pytest.mark.parametrize(("text", "window", "expected"), MATTR)
def test_mattr_equals_lexicalrichness(text: str, window: int, expected: float) -> None:
    assert mattr(words(text, "en"), window) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.integers(0, 12), max_size=80), st.integers(1, 30))
def test_mattr_is_the_mean_over_all_windows(tokens: list[int], window: int) -> None:
    ratios = [
        len(set(tokens[start : start + window])) / window
        for start in range(len(tokens) - window + 1)
    ]
    if ratios:
        assert mattr(tokens, window) == pytest.approx(sum(ratios) / len(ratios), rel=1e-12)
    else:
        assert math.isnan(mattr(tokens, window))


def test_distinct_n_grams_are_divided_by_words_and_end_with_their_text() -> None:
    # As DExperts counts: distinct n-grams over all samples / words of all samples.
    samples = [list("abcab"), list("abd"), []]
    assert distinct(samples, 1) == 4 / 8
    assert distinct(samples, 2) == 4 / 8  # ab bc ca bd
    assert distinct(samples, 3) == 4 / 8  # abc bca cab abd
    assert math.isnan(distinct([["a"], ["b"]], 2))


def test_all_samples_of_a_prompt_by_a_teacher_share_their_distinct_n() -> None:
    texts = ["a b c", "x y", "a b d", "x y", "lonely words", "", "?"]
    groups = ["p", "q", "p", "q", "r", "s", "s"]
    batch = Batch(texts, ["en"] * 7, [None] * 7, groups=groups)
    found = LexicalDiversity(LexicalDiversityParams()).score(batch).measures
    p, q, none = 4 / 6, 2 / 4, np.nan
    np.testing.assert_allclose(found["distinct_1"], [p, q, p, q, none, none, none], rtol=1e-6)
    p, q = 3 / 6, 1 / 4
    np.testing.assert_allclose(found["distinct_2"], [p, q, p, q, none, none, none], rtol=1e-6)
    np.testing.assert_allclose(found["distinct_3"][:4], [2 / 6, none, 2 / 6, none], rtol=1e-6)


def test_without_groups_distinct_n_abstains() -> None:
    found = measure("one two three").measures
    assert all(np.isnan(found[f"distinct_{size}"]).all() for size in (1, 2, 3))


@pytest.mark.parametrize("language", ["ja", "th", "zh"])
def test_distinct_n_counts_words_where_there_are_no_spaces(language: str) -> None:
    texts = {"ja": "今日は天気がいいです", "th": "ประเทศไทยสวยงามมาก", "zh": "我们今天去公园散步"}
    batch = Batch([texts[language]] * 2, [language] * 2, [None] * 2, groups=[0, 0])
    found = LexicalDiversity(LexicalDiversityParams()).score(batch).measures["distinct_1"]
    assert found.tolist() == [0.5, 0.5]

"""Texts that were cut off, in every script."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.filters.base import Batch
from arbitrage.filters.truncation import Truncation, TruncationParams, ends, last_sign


def open_end(text: str, language: str = "en", shortest: int = 1) -> float:
    scorer = Truncation(TruncationParams(shortest_words=shortest))
    return float(scorer.score(Batch([text], [language], [None])).measures["open_end"][0])


ENDED = [
    ("ar", "هل أنت بخير؟"),
    ("el", "Τι κάνεις;"),
    ("en", 'He said: "It is late."'),
    ("en", "**Done!** "),
    ("en", "(See above.)\n\n"),
    ("en", "Good luck 😊👍🏽"),
    ("en", "And then..."),
    ("en", "Use this:\n```python\nprint(1)\n```"),
    ("en", "We go on.\nSo we run this.\n```pip install tea```"),
    ("hi", "मैं घर गया।"),
    ("hy", "Ես տուն գնացի։"),
    ("ja", "「行きました。」"),
    ("ko", "집에 갔어요~"),
    ("my", "ကျွန်တော် သွားသည်။"),
    ("ru", "Мы пошли домой…"),
    ("ti", "ገዛ ከይደ።"),
    ("ur", "میں گھر گیا۔"),
    ("zh", "我们回家了！"),
]

OPEN = [
    ("ar", "ذهب الولد إلى المدرسة ثم"),
    ("el", "Πήγαμε σπίτι και μετά"),
    ("en", "We went home. Then we"),
    ("en", "Here is the code:\n```python\nprint("),
    ("en", "Three things matter:\nFirst, sleep.\nSecond, food.\n3."),
    ("en", "half a character \ufffd"),
    ("en", "So we have 1 + 1 ="),
    ("hi", "मैं घर गया। फिर मैं"),
    ("ja", "私は家に帰りました。それから"),
    ("ko", "집에 갔어요. 그리고 나서"),
    ("ru", "Мы пошли домой, а потом"),
    ("tr", "Eve gittik; sonra"),
    ("zh", "我们回家了。然后"),
]

UNSAID = [
    ("en", "We set it up:\n```pip install tea```\n- green\n- black"),
    ("en", ""),
    ("en", "\u200b\n \n"),
    ("en", "“”"),
    ("th", "เด็กชายไปโรงเรียนแล้วกลับบ้าน"),
    ("en", "We like tea.\n- green\n- black"),
    ("en", "We like tea.\n1. green\n2. black"),
    ("en", "It is all said here: https://example.org/tea"),
    ("en", "Roses are red\nViolets are blue\nSugar is sweet\nAnd so are you"),
    ("en", "| a | b |\n|---|---|\n| c | d |"),
    ("en", "x = 1\ny = 2\nprint(x + y)\nreturn"),
    ("en", '{"answer": "tea", "count": 2}'),
    ("en", "<p>It is tea</p>"),
    ("en", "So the sum is $x = 4$"),
]


@pytest.mark.parametrize(("language", "text"), ENDED)
def test_a_text_that_ends_as_a_sentence_is_not_open(language: str, text: str) -> None:
    assert open_end(text, language) == 0


@pytest.mark.parametrize(("language", "text"), OPEN)
def test_a_text_that_stops_in_mid_sentence_is_open(language: str, text: str) -> None:
    assert open_end(text, language) == 1


@pytest.mark.parametrize(("language", "text"), UNSAID)
def test_where_no_sentence_need_end_it_abstains(language: str, text: str) -> None:
    assert np.isnan(open_end(text, language))


def test_a_semicolon_ends_a_sentence_in_greek_only() -> None:
    assert ends("τι;", "el")
    assert not ends("what;", "en")


def test_short_answers_abstain_and_the_bound_is_the_number_of_words() -> None:
    assert np.isnan(open_end("one two three", shortest=4))
    assert open_end("one two three four", shortest=4) == 1


def test_the_teachers_word_decides_what_was_cut() -> None:
    reasons = ["length", "stop", "content_filter", None]
    batch = Batch(["Done."] * 4, ["en"] * 4, [None] * 4, finish_reasons=reasons)
    cut = Truncation(TruncationParams()).score(batch).measures["cut"]
    np.testing.assert_array_equal(cut, np.array([1, 0, 0, np.nan], np.float32))


def test_without_finish_reasons_nothing_is_said_of_the_cut() -> None:
    scores = Truncation(TruncationParams()).score(Batch(["Done."], ["en"], [None]))
    assert np.isnan(scores.measures["cut"]).all()


def test_the_last_sign_is_below_what_closes() -> None:
    assert last_sign("Done.**”)]\u200b \n") == "."
    assert last_sign(" \t**”)") == ""

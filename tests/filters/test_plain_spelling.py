"""Hidden words are spelt out, and texts that hide nothing stay as they are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.filters.plain_spelling import plain_spelling


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Je d é t e s t e les gens.", "Je déteste les gens."),
        ("w-o-r-d and w.o.r.d and w_o_r_d", "word and word and word"),
        ("J u d e u s", "Judeus"),
        ("ह ि न ् द ी", "ह ि न ् द ी"),  # marks alone are no letters
        ("М о с к в а", "Москва"),
        ("M0rt, h4te, 4bend, $ad, tr4n5, t0n1ght, canc3r.", "Mort, hate, abend, sad, trans, "
         "tonight, cancer."),
        ("wo\u200brd so\u00adft", "word soft"),
        ("\uff41\u200b b", "a b"),
    ],
)  # fmt: skip
def test_hidden_words_are_spelt_out(text: str, plain: str) -> None:
    assert plain_spelling(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A plain text, with I and a.",
        "In 2026, 10km at 4G, covid19, B2B, H2O, 3.14 and 50%",
        "@user1 wrote to @some0ne",
        "第 一 次 见",
        "ก ข ค ง",
        "½ ﬁ Ⅳ ２０２６",
        "\ud800 lone",
        "e\u0301 + o\u0308",
    ],
)
def test_what_hides_nothing_is_left_as_it_is(text: str) -> None:
    assert plain_spelling(text) == text


@given(st.text(st.characters(), max_size=80))
def test_a_plain_text_is_plain(text: str) -> None:
    assert isinstance(plain_spelling(text), str)
    assert plain_spelling("a " + "letters only " * 3) == "a " + "letters only " * 3


def test_long_texts_take_linear_time() -> None:
    start = time.thread_time()
    for text in ("a b " * 25_000, "a." * 50_000, "4a" * 50_000, "é" * 100_000, "1" * 100_000):
        plain_spelling(text)
    assert time.thread_time() - start < 5

"""Repeated lines, paragraphs and n-grams against a plain count, and Gopher's limits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.filters.base import Batch, measuring_hash
from arbitrage.filters.repetition import (
    GOPHER,
    Repetition,
    RepetitionParams,
    duplicates,
    run_shares,
)


def measures(text: str, language: str = "en", shortest: int = 1) -> dict[str, float]:
    scorer = Repetition(RepetitionParams(shortest_words=shortest))
    scores = scorer.score(Batch([text], [language], [None]))
    return {name: float(values[0]) for name, values in scores.measures.items()}


def plain_shares(tokens: list[str]) -> dict[str, float]:
    """The definition over every n-gram and every word, as a second opinion."""
    total = sum(map(len, tokens))
    shares = {}
    for size in range(2, 11):
        grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
        counts = Counter(grams)
        most = max(counts.values(), default=0)

        def held(starts: list[int], size: int = size) -> int:
            inside = {word for start in starts for word in range(start, start + size)}
            return sum(len(tokens[word]) for word in inside)

        if size <= 4:
            tops = [gram for gram, count in counts.items() if count == most > 1]
            of = [held([i for i, gram in enumerate(grams) if gram == top]) for top in tops]
            shares[f"top_{size}_gram"] = max(of, default=0) / total
        else:
            again = [i for i, gram in enumerate(grams) if gram in grams[:i]]
            shares[f"duplicate_{size}_grams"] = held(again) / total
    return shares


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), min_size=1, max_size=60))
def test_n_grams_are_counted_as_defined(tokens: list[str]) -> None:
    assert run_shares(tokens) == pytest.approx(plain_shares(tokens))


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=20))
def test_shares_of_lines_are_shares_and_zero_without_repetition(parts: list[str]) -> None:
    number, characters = duplicates(parts)
    assert 0 <= number < 1
    assert 0 <= characters < 1
    assert (number > 0) == (len(set(parts)) < len(parts))


def test_lines_and_paragraphs_are_compared_stripped_and_empty_ones_left_out() -> None:
    found = measures("One line.\n\n  One line. \n\n\nAnother.\nTwo.")
    assert found["duplicate_lines"] == pytest.approx(1 / 4)
    assert found["duplicate_paragraphs"] == pytest.approx(1 / 3)
    assert found["duplicate_line_characters"] == pytest.approx(9 / (9 + 9 + 8 + 4))


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ar", "ذهب الولد إلى المدرسة ثم عاد إلى البيت. "),
        ("hi", "लड़का स्कूल गया और फिर घर लौट आया। "),
        ("ja", "男の子は学校に行って、それから家に帰りました。"),
        ("ko", "소년은 학교에 갔다가 곧 집으로 돌아왔다. "),
        ("th", "เด็กชายไปโรงเรียนแล้วกลับบ้าน"),
        ("zh", "男孩去了学校，然后回到了家里。"),
    ],
)
def test_a_loop_is_found_in_every_script(language: str, sentence: str) -> None:
    looped = measures(sentence * 30, language, shortest=50)
    assert looped["duplicate_10_grams"] > 0.9
    assert looped["duplicate_5_grams"] > 0.9
    once = measures(sentence, language)
    assert once["duplicate_5_grams"] == 0


def test_short_texts_abstain_on_n_grams_alone_and_empty_ones_on_all() -> None:
    short = measures("yes\nyes", shortest=50)
    assert short["duplicate_lines"] == 0.5
    assert np.isnan(short["top_2_gram"])
    assert all(np.isnan(list(measures(" \n").values())))


def test_gophers_limits_are_asked_for_by_name_and_give_way_to_written_ones() -> None:
    assert RepetitionParams().thresholds() == {}
    limits = RepetitionParams(limits="gopher", max_duplicate_lines=0.5).thresholds()
    assert limits["max_duplicate_lines"] == 0.5
    assert limits["max_top_2_gram"] == 0.20
    assert limits["max_duplicate_10_grams"] == 0.10
    assert {name[4:] for name in limits} == set(GOPHER) == set(Repetition.measures)


def test_limits_do_not_measure_anew() -> None:
    assert measuring_hash(RepetitionParams()) == measuring_hash(RepetitionParams(limits="gopher"))
    assert measuring_hash(RepetitionParams()) != measuring_hash(RepetitionParams(shortest_words=9))

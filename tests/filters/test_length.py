"""Counting words and characters."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from arbitrage.filters.base import Batch
from arbitrage.filters.length import Length, LengthParams


@pytest.mark.parametrize(
    ("language", "text", "count", "characters"),
    [
        ("en", "It isn't far.", 3, 13),
        ("ar", "مرحبا بالعالم", 2, 13),
        ("hi", "नमस्ते दुनिया", 2, 13),
        ("ja", "東京へ", 2, 3),
        ("ko", "안녕 세계", 2, 5),
        ("ru", "Привет, мир!", 2, 12),
        ("th", "ประเทศไทยสวยงาม", 2, 15),
        ("tr", "Merhaba dünya", 2, 13),
        ("vi", "Xin chào", 2, 8),
        ("zh", "你好世界", 2, 4),
        ("en", "", 0, 0),
        ("en", "👩‍👩‍👧", 0, 5),
    ],
)
def test_words_and_code_points_are_counted(
    language: str, text: str, count: int, characters: int
) -> None:
    scores = Length(LengthParams()).score(Batch([text], [language], [None]))
    assert scores.measures["words"].tolist() == [count]
    assert scores.measures["characters"].tolist() == [characters]


def test_every_bound_is_a_threshold_with_a_cause() -> None:
    params = LengthParams(min_words=1, max_words=9, min_characters=2, max_characters=99)
    assert params.thresholds() == {
        "min_words": 1.0,
        "max_words": 9.0,
        "min_characters": 2.0,
        "max_characters": 99.0,
    }
    assert set(Length.causes) == set(params.thresholds())
    assert set(Length.causes.values()) == {"too_short", "too_long"}


def test_negative_and_unknown_bounds_are_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        LengthParams(min_words=-1)
    with pytest.raises(ValidationError, match="max_word"):
        LengthParams.model_validate({"max_word": 3})

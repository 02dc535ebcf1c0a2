"""Letters in the scripts of the wanted language."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.filters.base import Batch
from arbitrage.filters.script import Script, ScriptParams


def share(text: str, language: str, **params: int) -> float:
    scorer = Script(ScriptParams.model_validate(params))
    return float(scorer.score(Batch([text], [language], [None])).measures["share"][0])


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ar", "مرحبا بالعالم، ٣ أيام"),
        ("el", "Καλημέρα"),
        ("en", "It isn't naïve"),
        ("hi", "हिन्दी में लिखिए।"),
        ("ja", "コーヒーを飲みました々ヶ月"),
        ("ko", "안녕하세요 세계"),
        ("ru", "Ёлка — зелёная"),
        ("sr", "Добар дан"),
        ("sr-Latn", "Dobar dan"),
        ("uz-Cyrl", "Салом"),
        ("th", "ประเทศไทย"),
        ("tr", "Işık İyi"),
        ("vi", "Xin chào Việt Nam"),
        ("zh", "你好，世界"),
        ("zh-TW", "你好，世界"),
        ("pa-PK", "پنجابی وچ لکھو"),
        ("sr-ME", "Dobar dan"),
        ("uz-AF", "اوزبیکچه"),
        ("pt-BR", "Olá, mundo"),
        ("my", "မြန်မာ"),
    ],
)
def test_a_text_in_its_own_script_has_share_one(language: str, text: str) -> None:
    assert share(text, language) == 1


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("ru", "Privet, mir", 0),
        ("ko", "你好世界", 0),
        ("zh", "こんにちは", 0),
        ("sr", "Dobar dan", 0),
        ("sr-Latn", "Добар дан", 0),
        ("hi", "नमस hello", 3 / 8),
        ("en", "hello мир", 5 / 8),
    ],
)
def test_letters_of_another_script_lower_the_share(
    language: str, text: str, expected: float
) -> None:
    assert share(text, language) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "12:30 ?!", "😀", "\u200b\u0301", "\ud800", "𝐀𝐁"])
def test_texts_without_letters_of_any_script_abstain(text: str) -> None:
    assert np.isnan(share(text, "en"))


@pytest.mark.parametrize("language", ["", "xx-unknown", "tlh", "en-Qaaa", "en-Zyyy"])
def test_a_language_whose_script_is_not_known_abstains(language: str) -> None:
    assert np.isnan(share("hello", language))


def test_short_texts_abstain_by_the_number_of_letters() -> None:
    assert np.isnan(share("a b c 1 2 3", "en", shortest_letters=4))
    assert share("a b c d 1", "en", shortest_letters=4) == 1

"""Phrases by which answers decline, and answers that only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.filters.base import Batch
from arbitrage.filters.refusal import (
    Refusal,
    RefusalParams,
    declines,
    opening,
    refusal_patterns,
)

REFUSALS = {
    "ar": ["عذرًا، لا أستطيع كتابة هذا المقال.", "آسف، لا يمكنني مساعدتك في ذلك."],
    "de": ["Es tut mir leid, aber ich kann dabei nicht helfen.", "Leider kann ich das nicht tun."],
    "en": ["I’m sorry, but I can’t help with that.", "Unfortunately, I cannot create files."],
    "es": ["Lo siento, pero no puedo ayudarte con eso.", "No puedo proporcionar esa información."],
    "fr": ["Je suis désolée, mais je ne peux pas vous aider.", "Malheureusement, je ne peux pas."],
    "hi": ["क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।"],
    "id": ["Maaf, saya tidak dapat membantu permintaan ini.", "Saya tidak bisa membuat itu."],
    "it": ["Mi dispiace, ma non posso aiutarti.", "Purtroppo non sono in grado di farlo."],
    "ja": ["申し訳ありませんが、そのご依頼にはお応えできません。"],
    "ko": ["죄송하지만 그 요청은 도와드릴 수 없습니다."],
    "pt": ["Desculpe, mas não posso ajudar com isso.", "Infelizmente, não consigo acessar a rede."],
    "ru": ["К сожалению, я не могу помочь с этим.", "Извините, но я не могу этого написать."],
    "tr": ["Üzgünüm, bu konuda yardımcı olamam.", "Maalesef bunu yapamam."],
    "vi": ["Xin lỗi, tôi không thể giúp bạn việc này."],
    "zh": ["很抱歉，我无法提供这些信息。", "对不起，我不能帮助您完成这个请求。"],
}

ANSWERS = {
    "ar": "للأسف، فإن فجوة الثروة في العالم الحديث تتسع باستمرار.",
    "de": "Leider regnet es heute. Ich kann dir aber sagen, dass es morgen schön wird.",
    "en": "The importance of recycling cannot be overstated. I am sorry to hear of your loss.",
    "es": "Lamentablemente, los arrecifes de coral están entre los más amenazados.",
    "fr": "Malheureusement, il n'est pas possible pour les humains de vivre sur la Lune.",
    "hi": "जीवन बीमा के लिए कई विकल्प हैं।",
    "id": "Sayangnya hujan turun sepanjang hari.",
    "it": "Purtroppo piove. Non posso dimenticare quella sera, disse Anna.",
    "ja": "ある男が目を覚ますと、見慣れない街に立っていました。",
    "ko": "죄송하다는 말은 한국어에서 자주 쓰입니다.",
    "pt": "Infelizmente, a maior parte das empresas tem uma abordagem inadequada.",
    "ru": "Мама, почему я не могу смотреть телевизор столько, сколько хочу?",
    "tr": "Maalesef bugün hava yağmurlu.",
    "vi": "Âm nhạc là một phần không thể thiếu trong cuộc sống của chúng ta.",
    "zh": "真随机数的生成过程是不可预测的，无法通过任何算法来预测。",
}

every = [(language, text) for language, texts in REFUSALS.items() for text in texts]


@pytest.mark.parametrize(("language", "text"), every)
def test_a_refusal_is_one_in_its_language(language: str, text: str) -> None:
    assert declines(text, language) is True


@pytest.mark.parametrize(("language", "text"), ANSWERS.items())
def test_an_answer_with_the_same_words_is_none(language: str, text: str) -> None:
    assert declines(text, language) is False


def test_every_language_with_phrases_is_tried_here() -> None:
    assert set(refusal_patterns()) == set(REFUSALS) == set(ANSWERS)


@pytest.mark.parametrize("language", ["tr", "zh", "hi", "mas", ""])
def test_an_english_refusal_is_one_whatever_was_asked_for(language: str) -> None:
    assert declines("I'M SORRY, BUT I CAN'T HELP WITH THAT.", language) is True


def test_languages_without_phrases_abstain_on_what_is_not_english() -> None:
    assert declines("Samahani, siwezi kusaidia.", "sw") is None
    scores = Refusal(RefusalParams()).score(Batch(["?!", "Habari"], ["en", "sw"], [None] * 2))
    assert np.isnan(scores.measures["refused"]).all()


def test_only_the_opening_is_read() -> None:
    late = "A long answer. " * 40 + "I'm sorry, but I can't help with that."
    assert declines(late, "en") is False
    assert len(opening("a\u0301 " * 10_000, "en")) <= 300


def test_no_pattern_matches_every_text() -> None:
    for language, pattern in refusal_patterns().items():
        assert not pattern.search(""), language
        assert not pattern.search("12:30"), language

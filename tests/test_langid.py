"""Language identification: abstention, noise, length, script, rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage import langid
from arbitrage.language_labels import same_language, tag_of_label
from arbitrage.language_model import load_model

SENTENCES = {
    "ar": "القراءة عادة جميلة توسع الآفاق وتفتح أبواب المعرفة أمام الجميع.",
    "en": "Reading is a fine habit that opens the doors of knowledge to everyone.",
    "hi": "पढ़ना एक अच्छी आदत है जो सबके लिए ज्ञान के द्वार खोलती है।",
    "ja": "読書は誰にでも知識の扉を開いてくれる素晴らしい習慣です。",
    "ko": "독서는 누구에게나 지식의 문을 열어 주는 훌륭한 습관입니다.",
    "ru": "Чтение — прекрасная привычка, которая открывает каждому двери знаний.",
    "th": "การอ่านเป็นนิสัยที่ดีซึ่งเปิดประตูแห่งความรู้ให้กับทุกคน",
    "tr": "Okumak, herkese bilginin kapılarını açan güzel bir alışkanlıktır.",
    "vi": "Đọc sách là một thói quen tốt, mở ra cánh cửa tri thức cho mọi người.",
    "zh": "阅读是一种良好的习惯，可以为每个人打开知识的大门，让我们了解世界。",
}


def test_real_sentences_in_ten_languages_are_identified() -> None:
    tags, probabilities = langid.identify(list(SENTENCES.values()))
    assert tags == list(SENTENCES)
    assert probabilities.dtype == np.float32
    assert (probabilities > 0.2).all()
    assert (probabilities <= 1).all()


@pytest.mark.parametrize("text", ["", "   ", "123 456", "?!...", "😀👩‍👩‍👧", "\x00\x01", "\ud800"])
def test_a_text_without_letters_abstains(text: str) -> None:
    tags, probabilities = langid.identify([text, SENTENCES["tr"]])
    assert tags == [None, "tr"]
    assert np.isnan(probabilities).tolist() == [True, False]


def test_no_texts_give_no_answers() -> None:
    tags, probabilities = langid.identify([])
    assert tags == []
    assert probabilities.shape == (0,)


def test_line_breaks_control_characters_and_surrogates_do_not_change_the_answer() -> None:
    clean = SENTENCES["ru"]
    noisy = "\ufeff" + clean.replace(" ", "\r\n", 2).replace(" ", "\x00 \ud83d", 1)
    assert langid.identify([noisy])[0] == langid.identify([clean])[0] == ["ru"]


def test_few_letters_abstain_and_east_asian_ones_count_twice() -> None:
    assert langid.identify(["नमस्ते दोस्त", "你好世界朋友"], shortest=12)[0] == [None, "zh"]


def test_what_is_read_of_a_long_text_is_bounded_and_comes_from_all_its_parts() -> None:
    text = "a" * 5_000_000 + "b" * 5_000_000 + "c" * 5_000_000
    read = langid.readable(text)
    assert len(read) <= langid.LONGEST_READ + 2
    assert [read.count(letter) for letter in "abc"] == [3000, 3000, 3000]


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("阅读是一个好习惯，它为每个人打开知识的大门。", "zh"),
        ("阅读是一种良好的习惯，可以为每个人打开知识的大门，让我们了解世界。", "zh"),
        ("让我们了解世界", "zh"),
        ("東京都新宿区へようこそ", "ja"),
        ("한국어 문장", "ko"),
    ],
)
def test_a_label_that_the_script_rules_out_gives_way(text: str, tag: str) -> None:
    found, probabilities = langid.identify([text])
    assert same_language(tag, str(found[0]))
    assert 0 <= probabilities[0] <= 1


def test_without_the_script_check_the_first_label_of_the_model_is_given() -> None:
    text = "让我们了解世界"
    first = load_model().predict([text])[0][0][0]
    raw = langid.identify([text], check_script=False)[0][0]
    assert raw == tag_of_label(first) == "ja"
    assert langid.identify([text])[0][0] == "zh"


def test_rank_gives_the_likely_languages_best_first() -> None:
    (found,) = langid.rank([SENTENCES["en"]], k=3)
    assert found[0][0] == "en"
    assert len(found) == 3
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert langid.rank(["12:30"], k=3) == [[]]


def test_rank_gives_no_language_that_the_script_rules_out() -> None:
    (found,) = langid.rank(["阅读是一种良好的习惯，可以为每个人打开知识的大门。"], k=5)
    assert found
    assert {tag for tag, _ in found} <= {"zh", "yue", "wuu"}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=60), max_size=5))
def test_any_texts_are_answered_one_by_one(texts: list[str]) -> None:
    tags, probabilities = langid.identify(texts)
    assert len(tags) == len(probabilities) == len(texts)
    assert [tag is None for tag in tags] == np.isnan(probabilities).tolist()
    alone = [langid.identify([text])[0][0] for text in texts]
    assert tags == alone

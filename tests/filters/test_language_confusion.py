"""Language confusion: the benchmark's rules one by one, English words, and the worst of texts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch, Scores
from arbitrage.filters.language_confusion import (
    LanguageConfusion,
    LanguageConfusionParams,
    judged_lines,
)

CLEAN = {
    "ar": "يعيش معظم الناس في هذه المدينة بالقرب من النهر الكبير.",
    "en": "Most of the people in this town live close to the large river.",
    "hi": "इस शहर के अधिकांश लोग बड़ी नदी के पास रहते हैं।",
    "ja": "この町のほとんどの人は大きな川の近くに住んでいます。",
    "ko": "이 마을 사람들은 대부분 큰 강 근처에 살고 있습니다.",
    "ru": "Большинство жителей этого города живут рядом с большой рекой.",
    "tr": "Bu şehirdeki insanların çoğu büyük nehrin yakınında yaşıyor.",
    "vi": "Hầu hết mọi người trong thành phố này sống gần con sông lớn.",
    "zh": "这个城市的大多数居民都住在一条大河的附近，他们每天都去那里散步。",
}
WORDED = ["ar", "hi", "ja", "ko", "ru", "zh"]


def measure(texts: list[str], languages: list[str], **params: object) -> Scores:
    scorer = LanguageConfusion(LanguageConfusionParams.model_validate(params))
    return scorer.score(Batch(texts, languages, [None] * len(texts)))


def row(text: str, language: str, **params: object) -> dict[str, object]:
    scores = measure([text], [language], **params)
    row: dict[str, object] = {
        name: None if np.isnan(values[0]) else float(values[0])
        for name, values in scores.measures.items()
    }
    return row | {name: values[0] for name, values in scores.labels.items()}


@pytest.mark.parametrize("language", [tag for tag in CLEAN if tag not in ("ja", "zh")])
def test_a_clean_line_passes_in_its_own_language_and_in_no_other(language: str) -> None:
    scores = measure([CLEAN[language]] * len(CLEAN), list(CLEAN))
    passed = scores.measures["line_pass"].tolist()
    assert passed == [float(wanted == language) for wanted in CLEAN]
    assert scores.measures["wrong_lines"].tolist() == [float(1 - value) for value in passed]
    words = dict(zip(CLEAN, scores.measures["word_pass"].tolist(), strict=True))
    assert [wanted for wanted, value in words.items() if value == 1] == (
        [language] if language in WORDED else []
    )


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_chinese_and_japanese_are_judged_only_where_one_of_them_is_wanted(language: str) -> None:
    scores = measure([CLEAN[language]] * len(CLEAN), list(CLEAN))
    passed = dict(zip(CLEAN, scores.measures["line_pass"].tolist(), strict=True))
    assert {tag for tag, value in passed.items() if not np.isnan(value)} == {"ja", "zh"}
    assert {tag for tag, value in passed.items() if value == 1} == {language}
    other = "ja" if language == "zh" else "zh"
    assert scores.labels["wrong_language"][list(CLEAN).index(other)] == language


@pytest.mark.parametrize("language", WORDED)
def test_an_english_word_in_a_right_line_is_found_and_named(language: str) -> None:
    found = row(f"{CLEAN[language]} {CLEAN[language]} weather {CLEAN[language]}", language)
    assert found["line_pass"] == 1
    assert found["word_pass"] == 0
    assert found["english_word"] == "weather"
    assert found["wrong_language"] is None


@pytest.mark.parametrize("word", ["Weather", "the", "weathr", "WEATHER", "NATO"])
def test_capitalised_short_and_unknown_words_are_not_english(word: str) -> None:
    text = f"{CLEAN['ru']} {word} {CLEAN['ru']}"
    assert row(text, "ru")["word_pass"] == 1


def test_one_wrong_line_fails_the_completion_and_leaves_its_words_unjudged() -> None:
    found = row(f"{CLEAN['ru']}\n{CLEAN['en']}\nOK\n{CLEAN['ru']}", "ru")
    assert (found["line_pass"], found["lines"], found["wrong_lines"]) == (0, 3, 1)
    assert found["wrong_language"] == "en"
    assert found["word_pass"] is None
    assert found["english_word"] is None


def test_a_line_of_unknown_language_is_wrong() -> None:
    text = CLEAN["ru"]
    assert row(text, "ru")["line_pass"] == 1
    assert row(text, "ru", least_probability=1)["line_pass"] == 0
    assert row(text, "ru", least_probability=1)["wrong_language"] == "und"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a, b. (c)!", ["a b c"]),
        ("one\r\ntwo", ["one\r", "two"]),
        ("answer\nQ: next\nmore", ["answer"]),
        ("Q: kept\nQ: not", ["Q kept"]),
        ("  \n padded \n ", ["padded"]),
        ("a—b", ["a b"]),
        ("نعم، لا", ["نعم لا"]),
        ("«a» „b“ 。", ["«a» „b“ 。"]),
        ("a\ud800b", ["ab"]),
        ("", [""]),
    ],
)
def test_text_is_cut_and_cleaned_as_the_benchmark_does(text: str, lines: list[str]) -> None:
    assert judged_lines(text) == lines


@pytest.mark.parametrize("tokens", range(3, 8))
def test_lines_of_five_tokens_count_and_shorter_ones_do_not(tokens: int) -> None:
    words = ["собака", "кошка", "мышь", "корова", "лошадь", "овца", "утка"][:tokens]
    assert row(" ".join(words), "ru")["lines"] == (1 if tokens >= 5 else 0)
    assert row(" ".join(words), "ru", shortest_tokens=3)["lines"] == 1


@pytest.mark.parametrize("text", ["", "Да", "?!...", "😀🎉", "\n\n", "\u200b", "\ud800", "a b c d"])
def test_where_nothing_can_be_scored_it_abstains_or_gives_the_authors_one(text: str) -> None:
    abstained = {"line_pass": None, "word_pass": None, "wrong_lines": None, "lines": 0}
    labels = {"wrong_language": None, "english_word": None}
    assert row(text, "ru") == abstained | labels
    assert row(text, "ru", unscorable="pass") == abstained | labels | {
        "line_pass": 1,
        "word_pass": 1,
    }
    assert row(text, "de", unscorable="pass")["word_pass"] is None


@pytest.mark.parametrize("language", ["mas", "tlh", "xx-unknown", ""])
def test_a_language_without_a_label_abstains_in_everything(language: str) -> None:
    assert set(row(CLEAN["en"], language).values()) == {None}


@pytest.mark.parametrize(
    ("wanted", "same_as"),
    [("zh-Hant", "zh"), ("zh-CN", "zh"), ("ja-JP", "ja"), ("ru-RU", "ru"), ("pt-BR", "pt")],
)
def test_script_and_region_of_the_wanted_tag_do_not_matter(wanted: str, same_as: str) -> None:
    for text in (*CLEAN.values(), "Nesta cidade quase todos moram perto do rio."):
        assert row(text, wanted) == row(text, same_as)


def test_thai_is_seldom_long_enough_by_white_space_and_is_judged_by_words() -> None:
    text = "คนส่วนใหญ่ในเมืองนี้อาศัยอยู่ใกล้แม่น้ำสายใหญ่"
    assert row(text, "th")["line_pass"] is None
    assert row(text, "th", tokens="icu")["line_pass"] == 1
    assert row(CLEAN["en"], "th", tokens="icu")["line_pass"] == 0


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_words_by_icu_judge_chinese_and_japanese_too(language: str) -> None:
    assert row(CLEAN[language], language, tokens="icu")["word_pass"] == 1
    assert row(f"{CLEAN[language]} weather", language, tokens="icu")["word_pass"] == 0


def test_another_list_of_words_is_used_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    text = f"{CLEAN['ru']} weather {CLEAN['ru']} мышь {CLEAN['ru']}"
    listed = tmp_path / "words"
    listed.write_text("Weather\nhouse\nthe\n", encoding="utf-8")
    assert row(text, "ru", english_words=str(listed))["word_pass"] == 1
    listed = tmp_path / "more"
    listed.write_text("weather\n", encoding="utf-8")
    assert row(text, "ru", english_words=str(listed))["english_word"] == "weather"
    listed = tmp_path / "none of its words has a letter from a to z"
    listed.write_text("мышь\n", encoding="utf-8")
    assert row(text, "ru", english_words=str(listed))["english_word"] == "мышь"
    with pytest.raises(FilterError, match=r"absent.*cannot be read"):
        row(text, "ru", english_words=str(tmp_path / "absent"))
    empty = tmp_path / "empty"
    empty.write_text("A\nB\n")
    with pytest.raises(FilterError, match="no lower-case word"):
        row(text, "ru", english_words=str(empty))


LONG = {
    "prose": "большая река течёт рядом с городом " * 15_000,
    "one giant word": "a" * 1_000_000,
    "lines": "река течёт рядом с городом\n" * 20_000,
    "Chinese without an end": "天地玄黄宇宙洪荒" * 42_000,
    "rare Chinese characters": "龘靐齉爩麤" * 60_000,
    "kana": "あ" * 330_000,
    "emoji": "👩‍👩‍👧 " * 50_000,
    "markup": "<td class='a'>река</td>" * 35_000,
    "combining marks": "a" + "\u0301" * 400_000,
}


@pytest.mark.parametrize("language", ["ru", "zh", "ja"])
@pytest.mark.parametrize("kind", LONG)
def test_a_megabyte_takes_bounded_time(kind: str, language: str) -> None:
    measure(["今日は良い天気です。", "今天天气很好。"], ["ja", "zh"])  # dictionaries load
    start = time.perf_counter()
    found = row(LONG[kind], language)
    # Seconds here; without bounds these take minutes, or end the process.
    assert time.perf_counter() - start < 60
    assert found["lines"] is not None


AWKWARD = st.sampled_from(
    [
        "weather ",
        "\n",
        "。",
        "река ",
        "今天天气",
        "です",
        "\ud800",
        "\x00",
        "\u200b",
        "<b>",
        "x = 1; ",
        " ",
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(AWKWARD | st.text(max_size=8), max_size=30).map("".join), max_size=4),
    st.sampled_from([*CLEAN, "th"]),
    st.sampled_from(["authors", "icu"]),
)
def test_whatever_the_texts_the_measures_fit_together(
    texts: list[str], language: str, tokens: str
) -> None:
    scores = measure(texts, [language] * len(texts), tokens=tokens)
    for index in range(len(texts)):
        line, word, lines, wrong = (
            float(scores.measures[name][index])
            for name in ("line_pass", "word_pass", "lines", "wrong_lines")
        )
        assert np.isnan(line) == np.isnan(wrong) == (lines == 0)
        if lines:
            assert 0 <= wrong <= lines
            assert line == (wrong == 0)
            assert (scores.labels["wrong_language"][index] is None) == (line == 1)
        assert np.isnan(word) == (line != 1 or language not in WORDED)
        assert (scores.labels["english_word"][index] is None) == (word != 0)


def test_many_threads_get_the_same_scores() -> None:
    texts, languages = list(CLEAN.values()) * 20, list(CLEAN) * 20
    scorer = LanguageConfusion(LanguageConfusionParams())
    batch = Batch(texts, languages, [None] * len(texts))
    expected = scorer.score(batch).measures
    with ThreadPoolExecutor(4) as threads:
        for scores in threads.map(lambda _: scorer.score(batch), range(8)):
            for name, values in scores.measures.items():
                np.testing.assert_array_equal(values, expected[name])

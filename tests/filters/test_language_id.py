"""The language filter: right labels, match, abstention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_fasttext import write_model

from arbitrage.filters.base import Batch, Scores, measuring_hash
from arbitrage.filters.language_id import LanguageId, LanguageIdParams

REAL = {
    "ar": "يعيش معظم الناس في هذه المدينة بالقرب من النهر الكبير.",
    "en": "Most of the people in this town live close to the large river.",
    "hi": "इस शहर के अधिकांश लोग बड़ी नदी के पास रहते हैं।",
    "ja": "この町のほとんどの人は大きな川の近くに住んでいます。",
    "ko": "이 마을 사람들은 대부분 큰 강 근처에 살고 있습니다.",
    "ru": "Большинство жителей этого города живут рядом с большой рекой.",
    "th": "คนส่วนใหญ่ในเมืองนี้อาศัยอยู่ใกล้แม่น้ำสายใหญ่",
    "tr": "Bu şehirdeki insanların çoğu büyük nehrin yakınında yaşıyor.",
    "vi": "Hầu hết mọi người trong thành phố này sống gần con sông lớn.",
    "zh": "这个城市的大多数居民都住在一条大河的附近，他们每天都去那里散步。",
}


def measure(texts: list[str], languages: list[str], **params: int) -> Scores:
    scorer = LanguageId(LanguageIdParams.model_validate(params))
    return scorer.score(Batch(texts, languages, [None] * len(texts)))


@pytest.mark.parametrize("language", REAL)
def test_real_sentences_get_their_language_and_match_it_alone(language: str) -> None:
    scores = measure([REAL[language]] * len(REAL), list(REAL))
    assert scores.labels["language"] == [language] * len(REAL)
    assert scores.measures["match"].tolist() == [float(wanted == language) for wanted in REAL]
    assert (scores.measures["probability"] > 0.5).all()


def test_short_texts_abstain_in_every_column() -> None:
    scores = measure(["OK", "はい", "", "12345 67890 12345 67890"], ["en", "ja", "tr", "tr"])
    assert scores.labels["language"] == [None] * 4
    assert np.isnan(scores.measures["match"]).all()
    assert np.isnan(scores.measures["probability"]).all()


def test_the_number_of_letters_needed_can_be_set() -> None:
    assert measure(["Guten Morgen"], ["de"]).labels["language"] == [None]
    assert measure(["Guten Morgen"], ["de"], shortest_letters=5).labels["language"] == ["de"]


@pytest.mark.parametrize("wanted", ["mas", "zu", "tlh", "xx-unknown", ""])
def test_a_wanted_language_the_model_cannot_know_is_no_mismatch(wanted: str) -> None:
    scores = measure([REAL["en"]], [wanted])
    assert scores.labels["language"] == ["en"]
    assert np.isnan(scores.measures["match"]).all()
    assert not np.isnan(scores.measures["probability"]).any()


def test_a_region_does_not_matter_where_it_names_no_script() -> None:
    scores = measure([REAL["zh"], REAL["en"], REAL["ar"]], ["zh-CN", "en-GB", "ar-EG"])
    assert scores.measures["match"].tolist() == [1.0, 1.0, 1.0]


SCRIPTS = {
    "sr": "Данас је лепо време и сви људи иду у парк поред велике реке.",
    "sr-Latn": "Današnji dan je lep pa svi ljudi u Beogradu šetaju pored velike reke.",
    "zh": "这个城市的大多数居民都住在一条大河的附近，他们每天都去那里散步。",
    "zh-Hant": "這個城市的大多數居民都住在一條大河的附近，他們每天都去那裡散步。",
}


@pytest.mark.parametrize(
    ("wanted", "matching"),
    [
        ("zh", {"zh", "zh-Hant"}),
        ("zh-Hans", {"zh"}),
        ("zh-CN", {"zh"}),
        ("zh-Hant", {"zh-Hant"}),
        ("zh-TW", {"zh-Hant"}),
        ("sr", {"sr", "sr-Latn"}),
        ("sr-Cyrl", {"sr"}),
        ("sr-Latn", {"sr-Latn"}),
    ],
)
def test_a_wanted_script_is_asked_for_and_the_label_says_which_there_is(
    wanted: str, matching: set[str]
) -> None:
    scores = measure(list(SCRIPTS.values()), [wanted] * len(SCRIPTS))
    assert scores.labels["language"] == list(SCRIPTS)
    found = dict(zip(SCRIPTS, scores.measures["match"].tolist(), strict=True))
    assert {tag for tag, match in found.items() if match == 1} == matching


def test_the_script_in_the_label_of_another_model_counts(tmp_path: Path) -> None:
    texts = {
        "hin_Deva": "पढ़ना एक अच्छी आदत है जो सबके लिए ज्ञान के द्वार खोलती",
        "hin_Latn": "padhna ek achchhi aadat jo sabke lie gyaan ke dvaar kholti",
    }
    model = str(write_model(tmp_path / "hindi.bin", texts))
    scorer = LanguageId(LanguageIdParams(model=model))
    for wanted, matches in (("hi", [1, 1]), ("hi-Latn", [0, 1]), ("hi-Deva", [1, 0])):
        scores = scorer.score(Batch(list(texts.values()), [wanted] * 2, [None] * 2))
        assert scores.labels["language"] == ["hi", "hi-Latn"]
        assert scores.measures["match"].tolist() == matches
    unknown = scorer.score(Batch([texts["hin_Deva"]], ["ru"], [None]))
    assert np.isnan(unknown.measures["match"]).all()  # the model has no Russian


def test_a_wanted_language_among_the_likely_ones_can_do() -> None:
    text = ["Anda perlu masuk semula sebelum mengubah maklumat ini"]
    first = measure(text, ["id"]).labels["language"]
    assert measure(text, ["id"]).measures["match"].tolist() == [float(first == ["id"])]
    assert measure(text * 2, ["id", "ms"], top_k=3).measures["match"].tolist() == [1.0, 1.0]
    assert measure(text, ["ru"], top_k=3).measures["match"].tolist() == [0.0]


def test_lines_are_measured_where_asked_for_and_long_enough() -> None:
    text = f"{REAL['ru']}\n\n{REAL['en']}\n1. OK\r\n{REAL['ru']}\n{REAL['ru']}"
    languages = ["ru", "en", "mas"]
    assert np.isnan(measure([text] * 3, languages).measures["line_match"]).all()
    shares = measure([text] * 3, languages, lines=True).measures["line_match"]
    assert shares[:2].tolist() == [0.75, 0.25]
    assert np.isnan(shares[2])
    assert np.isnan(measure(["", "OK\nOK"], ["ru"] * 2, lines=True).measures["line_match"]).all()


def test_thresholds_do_not_change_what_is_measured_and_letters_do() -> None:
    plain = measuring_hash(LanguageIdParams())
    assert measuring_hash(LanguageIdParams(min_match=1, min_probability=0.5)) == plain
    assert measuring_hash(LanguageIdParams(shortest_letters=5)) != plain


def test_reasons_say_what_is_wrong() -> None:
    assert LanguageId.causes["min_match"] == "wrong_language"
    assert LanguageId.causes["min_probability"] == "uncertain_language"

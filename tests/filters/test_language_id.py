"""The language filter: right labels, match, abstention."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_script_and_region_of_the_wanted_tag_do_not_matter() -> None:
    scores = measure([REAL["zh"], REAL["en"], REAL["ar"]], ["zh-Hant-TW", "en-GB", "ar-EG"])
    assert scores.measures["match"].tolist() == [1.0, 1.0, 1.0]


def test_thresholds_do_not_change_what_is_measured_and_letters_do() -> None:
    plain = measuring_hash(LanguageIdParams())
    assert measuring_hash(LanguageIdParams(min_match=1, min_probability=0.5)) == plain
    assert measuring_hash(LanguageIdParams(shortest_letters=5)) != plain


def test_reasons_say_what_is_wrong() -> None:
    assert LanguageId.causes["min_match"] == "wrong_language"
    assert LanguageId.causes["min_probability"] == "uncertain_language"

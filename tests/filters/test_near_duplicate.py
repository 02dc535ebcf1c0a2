"""Near and exact duplicates in ten languages, against true Jaccard similarities."""

from __future__ import annotations

import random
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.filters.base import Batch, Scores, measuring_hash
from arbitrage.filters.matching import KEYS, RunSketch
from arbitrage.filters.near_duplicate import NearDuplicate, NearDuplicateParams, same_text
from arbitrage.filters.segmentation import words

# Two sentences of each language, long enough to be compared.
TEXTS = {
    "ar": "في الشتاء يكون البحر هادئا في الصباح وتعود القوارب إلى الميناء قبل الغروب بقليل. "
    "يجلس الصيادون في المقهى ويتحدثون عن الطقس وعن أسعار السمك هذا العام.",
    "en": "In winter the sea is calm in the morning and the boats return to the harbour just "
    "before sunset. The fishermen sit in the café and talk about the weather and the prices.",
    "hi": "सर्दियों में सुबह समुद्र शांत रहता है और नावें सूर्यास्त से ठीक पहले बंदरगाह लौट आती हैं। "
    "मछुआरे चाय की दुकान में बैठकर मौसम और इस साल मछली के दाम के बारे में बात करते हैं।",
    "ja": "冬の朝は海が穏やかで、船は日が沈む少し前に港へ戻ってきます。"
    "漁師たちは喫茶店に座って、天気や今年の魚の値段について話しています。",
    "ko": "겨울 아침에는 바다가 잔잔하고 배들은 해가 지기 조금 전에 항구로 돌아온다. "
    "어부들은 찻집에 앉아 날씨와 올해 생선 값에 대해 이야기를 나눈다.",
    "ru": "Зимой по утрам море спокойно, и лодки возвращаются в гавань незадолго до заката. "
    "Рыбаки сидят в кафе и говорят о погоде и о том, сколько в этом году стоит рыба.",
    "th": "ในฤดูหนาวทะเลสงบในตอนเช้าและเรือกลับมาที่ท่าเรือก่อนพระอาทิตย์ตกเล็กน้อย "
    "ชาวประมงนั่งอยู่ในร้านกาแฟและพูดคุยเกี่ยวกับอากาศและราคาปลาในปีนี้",
    "tr": "Kışın sabahları deniz sakindir ve tekneler gün batımından hemen önce limana döner. "
    "Balıkçılar kahvede oturup havadan ve bu yılki balık fiyatlarından konuşurlar.",
    "vi": "Vào mùa đông biển lặng vào buổi sáng và những chiếc thuyền trở về bến ngay trước khi "
    "mặt trời lặn. Ngư dân ngồi trong quán cà phê nói chuyện về thời tiết và giá cá năm nay.",
    "zh": "冬天的早晨海面很平静，渔船在日落之前不久回到港口。"
    "渔民们坐在茶馆里，谈论着天气和今年的鱼价，也谈论他们的孩子和明天的计划。",
}


def score(texts: list[str], languages: list[str] | str = "en", **params: Any) -> Scores:
    tags = [languages] * len(texts) if isinstance(languages, str) else languages
    scorer = NearDuplicate(NearDuplicateParams(**params))
    return scorer.score(Batch(texts, tags, [None] * len(texts)))


def values(scores: Scores, measure: str = "similarity") -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 3) for v in scores.measures[measure]]


def of_prompts(texts: list[str], prompts: list[str], first: int = 0, **params: Any) -> Scores:
    scorer = NearDuplicate(NearDuplicateParams(**params))
    ids = [f"c{number}" for number in range(len(texts))]
    keys = pa.table([ids, prompts, ["en"] * len(texts)], schema=KEYS)
    batch = Batch(texts, ["en"] * len(texts), [None] * len(texts))
    return scorer.match(RunSketch.of(keys, scorer.sketch(batch), first))


def true_similarity(one: str, other: str, language: str = "en", unit: str = "characters") -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        size = {"characters": 6, "words": 3}[unit]
        cut = words(text, language)
        units = list("".join(cut)) if unit == "characters" else cut
        return {tuple(units[i : i + size]) for i in range(len(units) - size + 1)}

    first, second = grams(one), grams(other)
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_a_text_cut_short_is_near_and_another_text_is_not(language: str, unit: str) -> None:
    """Also where no spaces stand between words."""
    text = TEXTS[language]
    cut = text[: int(len(text) * 0.85)]
    scores = score([text, cut, TEXTS["en" if language != "en" else "tr"]], language, unit=unit)
    similarity = values(scores)
    true = true_similarity(text, cut, language, unit)
    assert true > 0.7
    assert similarity[1] == pytest.approx(true, abs=0.15)
    assert similarity[0] == similarity[2] == 0
    assert list(scores.labels["of"]) == [None, "0", None]
    assert values(scores, "exact") == [0, 0, 0]


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("unit", ["words", "characters"])
def test_unicode_forms_and_white_space_make_no_difference(language: str, unit: str) -> None:
    text = TEXTS[language]
    forms = [text, unicodedata.normalize("NFD", text), f"  {text}\n\n", text.replace(" ", " \t")]
    scores = score(forms, language, unit=unit)
    assert values(scores) == [0, 1, 1, 1]
    assert values(scores, "exact") == [0, 1, 1, 1]
    assert list(scores.labels["of"]) == [None, "0", "0", "0"]


def test_case_and_punctuation_make_a_near_duplicate_and_no_exact_one() -> None:
    scores = score([TEXTS["en"], TEXTS["en"].upper().replace(".", " !")])
    assert values(scores) == [0, 1]
    assert values(scores, "exact") == [0, 0]


def test_the_first_of_several_equals_is_named_and_an_exact_one_before_a_near_one() -> None:
    text = TEXTS["en"]
    scores = score([text.upper(), text, text.lower(), text])
    assert values(scores) == [0, 1, 1, 1]
    assert list(scores.labels["of"]) == [None, "0", "0", "1"]
    assert values(scores, "exact") == [0, 0, 0, 1]


def test_languages_are_apart_unless_all_are_compared() -> None:
    texts, tags = [TEXTS["en"]] * 3, ["en", "tr", "en"]
    apart, together = score(texts, tags), score(texts, tags, scope="all")
    assert values(apart) == values(apart, "exact") == [0, 0, 1]
    assert list(apart.labels["of"]) == [None, None, "0"]
    assert values(together) == values(together, "exact") == [0, 1, 1]
    assert list(together.labels["of"]) == [None, "0", "0"]


def test_samples_of_a_prompt_may_be_left_out_of_the_comparison() -> None:
    """The third sample of q is near to p's first, which q's own copies may not hide."""
    text = TEXTS["en"]
    near = text.replace("calm", "quiet")
    texts, prompts = [text, text, near, near], ["p", "p", "q", "q"]
    counted = of_prompts(texts, prompts)
    assert list(counted.labels["of"]) == [None, "c0", "c0", "c2"]
    ignored = of_prompts(texts, prompts, within_prompt="ignore")
    assert list(ignored.labels["of"]) == [None, None, "c0", "c0"]
    assert values(ignored, "exact") == [0, 0, 0, 0]
    assert values(ignored)[2] == values(ignored)[3] == values(counted)[2]


def test_candidates_of_earlier_runs_are_compared_to_and_get_no_scores() -> None:
    text = TEXTS["en"]
    scores = of_prompts([text, text, text.upper(), TEXTS["tr"]], ["p"] * 4, first=2)
    assert values(scores) == [1, 0]
    assert list(scores.labels["of"]) == ["c0", None]


@pytest.mark.parametrize(
    ("text", "similarity", "exact"),
    [
        ("", None, None),
        (" \n\t ", None, None),
        ("Yes.", None, 1),
        ("😀🎉 👩‍👩‍👧‍👦", None, 1),
        ("?!...", None, 1),
        ("\ud800 lone \udfff surrogates are in this text of more than ten words here", 1, 1),
        ("e\u0301\u0323 " * 12, 1, 1),
        ("word " * 60, 1, 1),
    ],
)
def test_what_cannot_be_compared_abstains(
    text: str, similarity: float | None, exact: float | None
) -> None:
    scores = score([text, text])
    assert values(scores)[1] == similarity
    assert values(scores, "exact")[1] == exact
    assert list(scores.labels["of"]) == [None, "0" if exact else None]


def test_lone_surrogates_that_differ_are_different_texts() -> None:
    assert values(score(["\ud800", "\ud801"]), "exact") == [0, 0]


def test_a_text_of_too_many_marks_keeps_its_form() -> None:
    """Reordering them takes time quadratic in their number."""
    marks = "a" + "\u0301\u0323" * 40
    assert same_text(f" {marks}\n") == marks
    assert same_text("a\u0301\u0323") == unicodedata.normalize("NFC", "a\u0301\u0323")


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=30), max_size=12), st.randoms())
def test_exact_duplicates_are_always_found(texts: list[str], chance: random.Random) -> None:
    texts = texts + [chance.choice(texts) for _ in texts]
    seen: dict[str, int] = {}
    scores = score(texts)
    for place, text in enumerate(texts):
        form = same_text(text)
        first = seen.setdefault(form, place)
        told = scores.measures["exact"][place]
        assert np.isnan(told) if not form else told == (first < place)
        assert scores.labels["of"][place] == (str(first) if form and first < place else None)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(40, 200),
    st.floats(0, 0.3),
    st.sampled_from(["words", "characters"]),
)
def test_the_estimate_is_within_four_standard_errors_of_the_truth(
    seed: int, length: int, changed: float, unit: str
) -> None:
    chance = random.Random(seed)
    first = [f"w{chance.randrange(10_000)}" for _ in range(length)]
    start = chance.randrange(length)
    count = round(changed * length)
    second = [*first[:start], *(f"x{n}" for n in range(count)), *first[start + count :]]
    texts = [" ".join(first), " ".join(second)]
    true = true_similarity(*texts, unit=unit)
    found = values(score(texts, lowest_similarity=0.3, unit=unit))[1]
    assert found is not None
    assert abs(found - true) <= 4 * 0.5 / np.sqrt(128)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=3, max_size=6), max_size=8))
def test_a_score_depends_on_what_came_before_alone(parts: list[list[str]]) -> None:
    """More candidates at the end change nothing of the earlier ones' scores."""
    texts = [" ".join(part * 4) for part in parts]
    whole = score(texts)
    for end in range(len(texts)):
        begun = score(texts[:end])
        for name, measured in begun.measures.items():
            np.testing.assert_array_equal(measured, whole.measures[name][:end])
        assert list(begun.labels["of"]) == list(whole.labels["of"])[:end]


def test_signatures_are_the_same_on_every_machine() -> None:
    """Written down once: another version of the library must not pass unnoticed."""
    scorer = NearDuplicate(NearDuplicateParams())
    sketch = scorer.sketch(Batch(["one two three four " * 3], ["en"], [None]))
    assert sketch["signature"][0, :4].tolist() == SIGNATURE
    assert sketch["text"][0].tolist() == TEXT_HASH


def test_a_threshold_below_what_is_looked_for_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"below lowest_similarity = 0\.7"):
        NearDuplicateParams(max_similarity=0.5)
    NearDuplicateParams(max_similarity=0.5, lowest_similarity=0.5)


def test_thresholds_do_not_measure_again_and_everything_else_does() -> None:
    plain = measuring_hash(NearDuplicateParams())
    decided = NearDuplicateParams(max_similarity=0.8, max_exact=0, on_abstain="reject")
    assert measuring_hash(decided) == plain
    for change in (
        {"ngram": 5}, {"lowest_similarity": 0.5}, {"runs": ["runs/old"]}, {"scope": "all"},
        {"unit": "words"}, {"permutations": 64}, {"within_prompt": "ignore"},
    ):  # fmt: skip
        assert measuring_hash(NearDuplicateParams(**change)) != plain


SIGNATURE = [3315491548, 3268965457, 3377336050, 3287422494]
TEXT_HASH = [1940108113448221975, 7964967618206506598]

"""The word-list scorer: boundaries, counting, abstention. Listed terms appear here as test data."""

from __future__ import annotations

import sys
import unicodedata
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch, measuring_hash
from arbitrage.filters.scoring import built_filter, close_filters, filter_columns
from arbitrage.filters.toxicity import SCORERS, Toxicity, ToxicityParams
from arbitrage.filters.toxicity_detoxify import batches_of
from arbitrage.filters.toxicity_words import listed_terms, ordinary_terms, word_list


def toxicity(text: str, language: str) -> float:
    scores = Toxicity(ToxicityParams()).score(Batch([text], [language], [None]))
    return float(scores.measures["toxicity"][0])


def test_the_list_is_whole() -> None:
    assert sum(map(len, listed_terms().values())) == 2663
    assert len(listed_terms()) == 28


@pytest.mark.parametrize("language", sorted(listed_terms()))
def test_every_listed_term_is_found_alone_in_brackets_and_in_capitals(language: str) -> None:
    for term in set(listed_terms()[language]).difference(ordinary_terms().get(language, ())):
        assert toxicity(term, language) >= 0.5, term
        assert toxicity(f"({term})", language) >= 0.5, term
        if "ß" not in term:
            assert toxicity(term.upper(), language) >= 0.5 or language in {"tr", "tlh"}, term


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("What a lovely day", 0),
        ("shit", 1),
        ("Shit. Oh, SHIT!", 2),
        ("shit, crap and bastard", 2),
        ("2 girls 1 cup", 1),
        ("2  girls\n1 cup", 1),
        ("the g-spot", 1),
        ("Scunthorpe assassins pass the class", 0),
        ("🖕", 1),
    ],
)
def test_the_score_counts_terms_at_word_boundaries(text: str, hits: int) -> None:
    assert toxicity(text, "en") == pytest.approx(1 - 0.5**hits)


@pytest.mark.parametrize(
    ("language", "clean", "toxic"),
    [
        ("zh", "这种可能性很大", "这个婊子很坏"),
        ("ja", "東京の天気はいいです", "これは肛門です"),
        ("th", "วันนี้อากาศดีมาก", "ไอ้ ควย นี่"),
        ("ko", "오늘 날씨가 좋습니다", "야 병신 저리 가"),
        ("ar", "الطقس جميل اليوم", "هذا سكس فقط"),
        ("ru", "Сегодня хорошая погода", "какая жопа"),
        ("tr", "Bugün hava çok güzel", "KALTAĞI gördüm, SİKİ"),
        ("hi", "आज मौसम अच्छा है", "tu randi hai"),
    ],
)
def test_clean_and_listed_sentences_in_many_scripts(language: str, clean: str, toxic: str) -> None:
    assert toxicity(clean, language) == 0
    assert toxicity(toxic, language) >= 0.5


def test_what_is_left_out_as_ordinary_is_listed() -> None:
    for language, terms in ordinary_terms().items():
        assert set(terms) <= set(listed_terms()[language])


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("zh", "可是他的天性善良，喜欢喝奶茶。"),
        ("ja", "カントのような哲学者は、人種について論じた。"),
        ("ko", "역사에 막대한 영향을 미친 다섯 가지 발명품이 있습니다."),
        ("it", "Il re e la regina hanno catturato un enorme pesce spada."),
        ("pt", "Certifique-se de comer alimentos saudáveis."),
        ("es", "El martillo golpea la barra de madera maciza."),
        ("tr", "I am a native Turkish speaker. Türkçe yazılar yazıyorum."),
        ("fr", "Appuyez sur la pédale d'embrayage avec le pied."),
    ],
)
def test_ordinary_words_of_a_language_are_not_toxic_though_listed(
    language: str, sentence: str
) -> None:
    assert toxicity(sentence, language) == 0


def test_a_text_in_another_language_is_read_by_the_list_of_its_own() -> None:
    assert (
        toxicity("It was a long con, and they paid for it in the end, as they should.", "fr") == 0
    )
    assert toxicity("I think that what they told you is a load of shit, my friend.", "tr") == 0.5
    unlisted = "Hôm nay thời tiết rất đẹp, chúng tôi đi chơi ở công viên với bạn bè."
    assert np.isnan(toxicity(unlisted, "tr"))


def test_a_text_too_short_to_know_its_language_is_read_by_the_list_of_the_wanted_one() -> None:
    assert toxicity("sik con", "tr") == 0.5


@pytest.mark.parametrize("language", ["vi", "id", "bn", "xx-unknown", ""])
def test_a_language_without_a_list_abstains(language: str) -> None:
    assert np.isnan(toxicity("shit", language))


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u200d", "\x00\x1b"])
def test_an_empty_text_abstains(text: str) -> None:
    assert np.isnan(toxicity(text, "en"))


def test_regions_scripts_and_kin_find_their_list() -> None:
    assert toxicity("shit", "en-GB") == 0.5
    assert toxicity("faen", "nb") == toxicity("faen", "nn-NO") == 0.5
    assert word_list("zh-Hant-TW") is not None
    only_quebec = set(listed_terms()["fr-CA"]) - set(listed_terms()["fr"])
    term = sorted(only_quebec)[0]
    assert toxicity(term, "fr-CA") >= 0.5
    assert toxicity(term, "fr") == 0


@given(st.lists(st.sampled_from(["shit", "crap", "day", "the", "ass", "lovely"]), max_size=5))
def test_one_more_listed_term_never_lowers_the_score(found: list[str]) -> None:
    text = " ".join(found)
    more = f"{text} . shit" if text else "shit"
    before = toxicity(text, "en") if text else 0.0
    assert before < toxicity(more, "en") <= 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"checkpoint": "x.ckpt"}, 'the scorer "words" does not take "checkpoint"'),
        ({"untrained": "score"}, 'the scorer "words" does not take "untrained"'),
        ({"scorer": "light", "model": "original"}, 'the scorer "light" does not take "model"'),
        ({"scorer": "words", "precision": "float16"}, 'Set scorer to "detoxify"'),
        ({"scorer": "perspective"}, "'words', 'light' or 'detoxify'"),
        ({"scorer": "detoxify", "model": "large"}, "'multilingual'"),
        ({"scorer": "detoxify", "tokens_per_batch": 0}, "greater than or equal to 1"),
    ],
)
def test_a_param_that_is_not_the_scorers_is_an_error(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ToxicityParams(**params)


def test_params_go_through_a_manifest_and_back() -> None:
    for params in (ToxicityParams(), ToxicityParams(scorer="detoxify", device="cpu")):
        assert ToxicityParams(**params.model_dump(mode="json", exclude_none=True)) == params


def test_the_table_of_scorers_is_what_the_params_offer() -> None:
    assert get_args(ToxicityParams.model_fields["scorer"].annotation) == tuple(SCORERS)
    fields = set(ToxicityParams.model_fields)
    for name, kind in SCORERS.items():
        assert kind.params <= fields
        assert kind.build(ToxicityParams(scorer=name)).measures[0] == "toxicity"


def test_columns_are_known_from_the_params_before_anything_is_loaded() -> None:
    named = {
        model: [
            field.name.removeprefix("toxicity.")
            for field in filter_columns("toxicity", ToxicityParams(scorer="detoxify", model=model))
        ]
        for model in ("multilingual", "original")
    }
    original = ["toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat"]
    assert named == {"multilingual": [*original, "sexual_explicit"], "original": original}
    assert [field.name for field in filter_columns("toxicity", ToxicityParams())] == [
        "toxicity.toxicity"
    ]


def test_where_it_runs_changes_no_hash_and_builds_another() -> None:
    here, there = (ToxicityParams(scorer="detoxify", device=device) for device in ("cpu", "auto"))
    assert measuring_hash(here) == measuring_hash(there)
    assert built_filter("toxicity", here) is not built_filter("toxicity", there)
    assert measuring_hash(here) != measuring_hash(
        ToxicityParams(scorer="detoxify", model="unbiased")
    )
    close_filters()


@pytest.mark.parametrize("module", ["torch", "detoxify"])
def test_a_missing_library_is_named_with_its_mend(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setitem(sys.modules, module, None)
    scorer = Toxicity(ToxicityParams(scorer="detoxify"))
    batch = Batch(["some text"], ["en"], [None])
    for attempt in (scorer.load, lambda: scorer.score(batch)):
        with pytest.raises(FilterError, match=f'needs the package "{module}"') as caught:
            attempt()
        assert 'pip install "multilingual-arbitrage[detoxify]"' in caught.value.mend
    # Where there is nothing to score nothing is needed.
    assert np.isnan(
        scorer.score(Batch(["", "हाँ"], ["en", "hi"], [None] * 2)).measures["insult"]
    ).all()


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 5_000))
def test_batches_hold_every_text_once_and_no_more_tokens_than_asked(
    lengths: list[int], limit: int
) -> None:
    batches = list(batches_of(lengths, limit))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    longest = [max(lengths[row] for row in rows) for rows in batches]
    assert longest == sorted(longest, reverse=True)
    for rows, most in zip(batches, longest, strict=True):
        assert len(rows) * most <= limit or len(rows) == 1


def test_terms_are_found_in_decomposed_text_too() -> None:
    term = next(term for term in listed_terms()["tr"] if "ş" in term)
    assert toxicity(unicodedata.normalize("NFD", term), "tr") >= 0.5

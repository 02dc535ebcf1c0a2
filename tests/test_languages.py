"""The language table and the tag functions."""

from __future__ import annotations

import pytest

from arbitrage.languages import base_language, language_facts, language_table, normalise_tag

SPOKEN = ["ar", "en", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh"]


def test_every_row_is_complete_and_its_tag_is_normal() -> None:
    for tag, facts in language_table().items():
        assert normalise_tag(tag) == tag
        assert facts.name
        assert len(facts.script) == 4
        assert facts.script.istitle()
        assert facts.segmentation in {"space", "dictionary"}
        assert facts.resource in {"high", "mid", "low", ""}


def test_the_table_covers_all_176_labels_of_the_model() -> None:
    from arbitrage.language_model import load_model

    labels = {label.removeprefix("__label__") for label in load_model().get_labels()}
    assert len(labels) == 176
    assert {facts.fasttext for facts in language_table().values()} - {""} == labels


def test_resource_levels_have_the_sizes_of_the_paper() -> None:
    levels = [f.resource for f in language_table().values() if f.tag not in {"sr-Latn", "zh-Hant"}]
    assert levels.count("high") == 7 + 18
    assert levels.count("mid") == 28


@pytest.mark.parametrize("tag", SPOKEN)
def test_common_languages_are_known(tag: str) -> None:
    facts = language_facts(tag)
    assert facts is not None
    assert facts.fasttext == tag


def test_scripts_written_without_spaces_are_segmented_by_dictionary() -> None:
    without = {t for t, facts in language_table().items() if facts.segmentation == "dictionary"}
    assert without == {"zh", "zh-Hant", "ja", "th", "lo", "km", "my", "yue", "wuu", "bo", "dz"}


@pytest.mark.parametrize(
    ("tag", "row", "script"),
    [
        ("pt-BR", "pt", "Latn"),
        ("zh-TW", "zh-Hant", "Hant"),
        ("zh-Hant-HK", "zh-Hant", "Hant"),
        ("zh-CN", "zh", "Hans"),
        ("sr-Latn-RS", "sr-Latn", "Latn"),
        ("sr", "sr", "Cyrl"),
        ("azb", "azb", "Arab"),
    ],
)
def test_facts_fall_back_to_the_nearest_row(tag: str, row: str, script: str) -> None:
    facts = language_facts(tag)
    assert facts is not None
    assert (facts.tag, facts.script) == (row, script)


@pytest.mark.parametrize("tag", ["tlh", "qaa", "", "not a tag", "x"])
def test_facts_of_an_unknown_language_are_none(tag: str) -> None:
    assert language_facts(tag) is None


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("ZH_hant_tw", "zh-Hant-TW"),
        ("iw", "he"),
        ("tl", "fil"),
        (" en-gb ", "en-GB"),
        ("eng", "en"),
    ],
)
def test_tags_are_normalised(written: str, normal: str) -> None:
    assert normalise_tag(written) == normal


@pytest.mark.parametrize(
    "written", ["", "english", "e", "und", "xx", "12", "ab-cdefghijk", "a\x00"]
)
def test_what_is_no_language_tag_is_refused_with_the_value(written: str) -> None:
    with pytest.raises(ValueError, match=r"no registered language|not a BCP-47") as error:
        normalise_tag(written)
    assert f'"{written}"' in str(error.value)


def test_the_base_of_a_tag_is_its_first_subtag() -> None:
    assert [base_language(tag) for tag in ("zh-Hant-TW", "en", "sr-Latn")] == ["zh", "en", "sr"]

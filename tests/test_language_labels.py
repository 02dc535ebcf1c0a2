"""Labels become BCP-47 tags; what counts as the same language; which script a tag asks for."""

from __future__ import annotations

import pytest

from arbitrage.language_labels import same_language, tag_of_label, wanted_script


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("__label__no", "nb"),
        ("__label__als", "gsw"),
        ("__label__bh", "bho"),
        ("__label__eml", "egl"),
        ("__label__sh", "sr-Latn"),
        ("__label__tl", "fil"),
        ("__label__zh", "zh"),
        ("__label__ar", "ar"),
        ("__label__eng_Latn", "en"),
        ("__label__srp_Cyrl", "sr"),
        ("__label__srp_Latn", "sr-Latn"),
        ("__label__hbs_Latn", "sr-Latn"),
        ("__label__bos_Cyrl", "bs-Cyrl"),
        ("__label__nob_Latn", "nb"),
        ("__label__nno_Latn", "nn"),
        ("__label__cmn_Hani", "zh"),
        ("__label__zho_Hans", "zh"),
        ("__label__zho_Hant", "zh-Hant"),
        ("__label__yue_Hant", "yue"),
        ("__label__wuu_Hani", "wuu"),
        ("__label__jpn_Jpan", "ja"),
        ("__label__kor_Hang", "ko"),
        ("__label__arb_Arab", "ar"),
        ("__label__arz_Arab", "arz"),
        ("__label__pes_Arab", "fa"),
        ("__label__zsm_Latn", "ms"),
        ("__label__als_Latn", "sq"),
        ("__label__hin_Latn", "hi-Latn"),
        ("__label__uzn_Cyrl", "uz-Cyrl"),
        ("__label__tgl_Latn", "fil"),
        ("__label__und_Latn", "und"),
        ("__label__not a code", "not a code"),
    ],
)
def test_labels_become_bcp47_tags(label: str, tag: str) -> None:
    assert tag_of_label(label) == tag


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ("zh-Hant", "zh", True),
        ("pt-BR", "pt", True),
        ("no", "nb", True),
        ("no", "nn", True),
        ("nb", "nn", False),
        ("tl", "fil", True),
        ("fil", "fil", True),
        ("ar", "arz", True),
        ("arz", "ar", False),
        ("sr", "hr", False),
        ("hr", "bs", False),
        ("id", "ms", False),
        ("ms", "id", False),
        ("zh", "yue", True),
        ("zh-Hant", "wuu", True),
        ("yue", "zh", False),
        ("en", "de", False),
    ],
)
def test_what_counts_as_the_same_language(wanted: str, found: str, same: bool) -> None:
    assert same_language(wanted, found) is same


@pytest.mark.parametrize(
    ("tag", "script"),
    [
        ("sr-Latn", "Latn"),
        ("sr-Cyrl-RS", "Cyrl"),
        ("sr-RS", None),
        ("zh", None),
        ("zh-TW", "Hant"),
        ("zh-HK", "Hant"),
        ("zh-CN", "Hans"),
        ("zh-hant", "Hant"),
        ("en-GB", None),
        ("", None),
    ],
)
def test_a_tag_asks_for_a_script_by_naming_it_or_by_a_chinese_region(
    tag: str, script: str | None
) -> None:
    assert wanted_script(tag) == script

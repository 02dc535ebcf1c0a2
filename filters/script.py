"""Whether a completion is written in the script of the wanted language."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar, cast

import langcodes
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.languages import base_language, language_facts
from arbitrage.scripts import letters_of

# ISO 15924 codes that stand for more than one script, or for a style of one, as Unicode names them.
# Kore has Han too, but then a Chinese answer would pass for a Korean one; Hanja is rare today.
_WRITTEN_IN = {
    "Jpan": ("Hira", "Kana", "Hani"),
    "Hrkt": ("Hira", "Kana"),
    "Kore": ("Hang",),
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Aran": ("Arab",),
}


@cache
def expected_letters(tag: str) -> NDArray[np.bool_] | None:
    """`letters_of` the scripts a language is written in; None where they are not known.

    A script in the tag comes before the one its region implies, and that before the language's.

    >>> [bool(expected_letters(tag)[ord("Д")]) for tag in ("sr", "sr-Latn", "sr-ME", "uz-Cyrl")]
    [True, False, False, True]
    """
    named = [part for part in tag.split("-")[1:] if len(part) == 4 and part.isalpha()]
    facts = language_facts(tag)
    if named:
        code = named[0].title()
    elif facts is None:
        return None
    elif tag == base_language(tag):
        code = facts.script
    else:
        code = langcodes.Language.get(tag).maximize().script or facts.script
    return letters_of(*_WRITTEN_IN.get(code, (code,)))


class ScriptParams(FilterParams):
    """From how many letters on to measure, and the thresholds."""

    shortest_letters: int = Field(1, ge=1, description="Abstain on texts with fewer letters.")
    min_share: float | None = Field(None, ge=0, le=1, description="Least share of a kept text.")
    max_share: float | None = Field(None, ge=0, le=1, description="Most share of a kept text.")


@register("script", version=2)
class Script(Filter):
    """Measures which share of the letters is in the scripts of the wanted language.

    Source: the property Script_Extensions of Unicode (Annex 24), through the library `regex`; which
        script a language is written in: CLDR's likely subtags, in the table of languages.
    Reads: texts; languages.
    Writes: `script.share`, float32 [n].
    Score: 0 to 1, the share of letters; digits, punctuation, signs, combining marks and letters of
        no script are not counted. A script in the tag decides (sr-Latn, uz-Cyrl), else the one
        that a region implies (pa-PK is Arabic), else the language's. Japanese takes kana and Han,
        Korean Hangul alone.
    Rejects: wrong_script (`min_share`), max_share.
    Abstains: on texts with fewer than `shortest_letters` letters, and where neither the tag nor the
        table says the script.
    Cost: about 40 MB of text a second on one core.
    Blind spots: names, code, links and units in Latin letters lower the share of other scripts, so
        a threshold far under 1 is the sensible one. Languages of one script are not told apart
        (a French answer in English has 1, a Japanese one in Chinese too), nor zh-Hans from
        zh-Hant. Hanja in Korean counts as foreign.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["Привет, мир", "Privet, mir", "カラー写真 OK", "12:30"]
    >>> batch = Batch(texts, ["ru", "ru", "ja", "ja"], [None] * 4)
    >>> Script(ScriptParams()).score(batch).measures["share"].round(2).tolist()
    [1.0, 0.0, 0.7099999785423279, nan]
    """

    Params = ScriptParams
    measures = ("share",)
    causes: ClassVar[Mapping[str, str]] = {"min_share": "wrong_script"}
    fears: ClassVar[Mapping[str, Fear]] = {
        "share": Fear("low", "letters of another script"),
    }

    def score(self, batch: Batch) -> Scores:
        shares = np.full(len(batch), np.nan, dtype=np.float32)
        any_letter = cast("NDArray[np.bool_]", letters_of())
        for index, (text, language) in enumerate(zip(batch.texts, batch.languages, strict=True)):
            expected = expected_letters(language)
            if expected is None:
                continue
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            codes = np.minimum(codes, len(any_letter) - 1)
            letters = np.count_nonzero(any_letter[codes])
            if letters >= self.params.shortest_letters:
                shares[index] = np.count_nonzero(expected[codes]) / letters
        return Scores({"share": shares})

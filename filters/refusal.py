"""Whether a completion declines what was asked, by phrases that refusals open with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import ClassVar

import numpy as np
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.filters.segmentation import fold
from arbitrage.languages import base_language

# A refusal opens the answer, after a courtesy at most. Before folding four times as much is read.
_OPENING = 300
# A teacher that declines in no language of the prompt does so in this one.
_EVERYWHERE = "en"


@cache
def refusal_patterns() -> dict[str, re.Pattern[str]]:
    """Language -> one pattern of all the phrases by which answers in it decline."""
    text = resources.files("arbitrage").joinpath("data/refusals.tsv").read_text("utf-8")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            language, pattern = line.split("\t")
            found.setdefault(language, []).append(f"(?:{pattern})")
    del found["language"]
    return {language: re.compile("|".join(some)) for language, some in found.items()}


def opening(text: str, language: str) -> str:
    """The first 300 characters, folded, in NFC and with single spaces.

    >>> opening("I’m  sorry,\\nbut", "en")
    "i'm sorry, but"
    """
    folded = unicodedata.normalize("NFC", fold(text.lstrip()[: 4 * _OPENING], language))
    return " ".join(folded.split())[:_OPENING]


def declines(text: str, language: str) -> bool | None:
    """Whether a text opens with a refusal in its language or in English; None for no saying.

    >>> declines("I'm sorry, but I can't help with that.", "sw"), declines("Habari!", "sw")
    (True, None)
    """
    own = base_language(language)
    for code in dict.fromkeys((_EVERYWHERE, own)):
        pattern = refusal_patterns().get(code)
        if pattern is None:
            return None
        if pattern.search(opening(text, code)):
            return True
    return False


class RefusalParams(FilterParams):
    """The threshold."""

    max_refused: float | None = Field(None, ge=0, le=1, description="0 rejects refusals.")


@register("refusal", version=1)
class Refusal(Filter):
    """Says whether each text opens by declining what was asked, or a part of it.

    Source: phrases of refusals written for this project, regular expressions in
        `data/refusals.tsv`, for ar de en es fr hi id it ja ko pt ru tr vi zh.
    Reads: texts; languages, each text against the phrases of its wanted language and the English
        ones.
    Writes: `refusal.refused`, float32 [n].
    Score: 1 where a phrase stands in the first 300 characters, else 0. A text that declines one
        thing and then does another ("I can't write in Arabic, but here is an essay in English")
        counts as 1, and most recorded ones are of this kind.
    Rejects: refused (`max_refused`).
    Abstains: on texts without a letter or digit, and on texts without an English phrase where the
        wanted language has no phrases.
    Cost: about 12,000 answers a second on one core, half of it finding the words.
    Blind spots: of 29,238 recorded answers in 15 languages 122 match; read one by one by one
        reader, 121 of them decline at least a part (ar 22 of 22, vi 15, ru 14, ko 10, hi 10, ja 11,
        de 9, zh 7, tr 5 of 6, es fr id it pt 3 to 4 each). That flatters: the phrases were mended
        on these very answers, and hardly one of them declines for harm, so what holds of such
        refusals is not known. Refusals it misses are known too ("Maalesef ... bulamıyorum",
        "我的语言库目前仅支持英语"); how many there are was not counted. Stories in which somebody
        says such a sentence at once, and answers that only disown feelings, can match.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["I'm sorry, but I can't help with that.", "Üzgünüm, bunu yapamam.", "Merhaba!"]
    >>> Refusal(RefusalParams()).score(Batch(texts, ["tr"] * 3, [None] * 3)).measures["refused"]
    array([1., 1., 0.], dtype=float32)
    """

    Params = RefusalParams
    measures = ("refused",)
    causes: ClassVar[Mapping[str, str]] = {"max_refused": "refused"}
    fears: ClassVar[Mapping[str, Fear]] = {
        "refused": Fear("high", "refusals"),
    }

    def score(self, batch: Batch) -> Scores:
        values = np.full(len(batch), np.nan, dtype=np.float32)
        for index, (text, language) in enumerate(zip(batch.texts, batch.languages, strict=True)):
            if batch.words[index]:
                found = declines(text, language)
                values[index] = np.nan if found is None else found
        return Scores({"refused": values})

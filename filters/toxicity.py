"""How toxic a completion is, by a transparent list of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from pydantic import Field

from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.filters.segmentation import segments

# The list has one Norwegian part, written in Bokmål with some Nynorsk.
_LISTED_AS = {"nb": "no", "nn": "no", "tl": "fil"}


@dataclass(frozen=True, slots=True)
class WordList:
    """The listed terms of one language, and how far to look for one from its first characters.

    Attributes:
        terms: folded terms of one or more words.
        longest: first one or two characters -> length of the longest term that begins so.
    """

    terms: frozenset[str]
    longest: dict[str, int]

    def hits(self, parts: Sequence[str]) -> int:
        """Number of listed terms among the segments, longest first and without overlaps.

        A term counts only where it begins and ends at a word boundary.
        """
        found, position, total = 0, 0, len(parts)
        while position < total:
            limit = self.longest.get(parts[position][:2], 0)
            term, after, end = "", position, 0
            while after < total and len(term) < limit:
                term += parts[after]
                after += 1
                if term in self.terms:
                    end = after
            found += end > 0
            position = end or position + 1
        return found


@cache
def listed_terms() -> dict[str, tuple[str, ...]]:
    """Every listed term as in the source, by language."""
    text = resources.files("arbitrage").joinpath("data/toxic_words.tsv").read_text("utf-8")
    terms: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        language, term = line.split("\t")
        terms.setdefault(language, []).append(term)
    return {language: tuple(found) for language, found in terms.items()}


@cache
def word_list(language: str) -> WordList | None:
    """The list for a tag: that of the tag itself and of every shorter form of it; None without any.

    >>> word_list("zh-Hant-TW") is not None, word_list("vi") is None
    (True, True)
    """
    parts = language.split("-")
    tags = ["-".join(parts[: length + 1]) for length in range(len(parts))]
    tags[0] = _LISTED_AS.get(tags[0], tags[0])
    terms = frozenset(
        "".join(segments(term, language)) for tag in tags for term in listed_terms().get(tag, ())
    )
    longest: dict[str, int] = {}
    for term in terms:
        for prefix in {term[:1], term[:2]}:
            longest[prefix] = max(longest.get(prefix, 0), len(term))
    return WordList(terms, longest) if terms else None


def single_spaced(parts: Sequence[str]) -> list[str]:
    """Segments with one space for any run of white space, and none at the ends.

    >>> single_spaced(["\\n", "bad", " ", "\\n", "word", " "])
    ['bad', ' ', 'word']
    """
    spaced: list[str] = []
    for part in parts:
        if not part.isspace():
            spaced.append(part)
        elif spaced and spaced[-1] != " ":
            spaced.append(" ")
    return spaced[:-1] if spaced and spaced[-1] == " " else spaced


class ToxicityParams(FilterParams):
    """The scorer and the threshold."""

    scorer: Literal["words"] = Field("words", description="What scores: the list of words.")
    max_toxicity: float | None = Field(
        None, ge=0, le=1, description="Most toxicity of a kept text."
    )


@register("toxicity", version=1)
class Toxicity(Filter):
    """Scores toxicity by the number of listed obscene and abusive terms in each text.

    Source: List of Dirty, Naughty, Obscene, and Otherwise Bad Words (LDNOOBW, CC BY 4.0): 2,663
        terms in ar cs da de en eo es fa fi fil fr fr-CA hi hu it ja kab ko nl no pl pt ru sv th tlh
        tr zh.
    Reads: texts; languages, each text against the list of its wanted language alone.
    Writes: `toxicity.toxicity`, float32 [n].
    Score: 1 - 0.5 ** n for n listed terms in the text, repetitions counted: 0, 0.5, 0.75, 0.875 ...
        up to 1; higher is worse. Longest terms first, no overlaps, case ignored, and only where a
        term begins and ends at a word boundary (in Chinese, Japanese and Thai those of the ICU
        dictionary).
    Rejects: max_toxicity; any value under 0.5 rejects a text with one listed term.
    Abstains: where the language has no list (vi, id, bn ...) and on empty or white-space texts.
    Cost: about 6 MB of text a second on one core.
    Blind spots: it finds profanity, not hate: on English tweets its AUC is 0.87, on the functional
        hate tests of Multilingual HateCheck it is at chance (0.46 to 0.48 in de es fr it pt).
        Threats without swear words, misspellings, leet, scripts other than the list's (Hindi is
        listed in Latin letters only) and languages other than the wanted one pass; quotations and
        medicine do not. Inflected Korean, Turkish, Finnish or Hungarian forms pass unless listed.
        Long texts collect more hits than short ones.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["What a lovely day", "Holy shit, this crap again", "chào bạn"]
    >>> batch = Batch(texts, ["en", "en", "vi"], [None] * 3)
    >>> Toxicity(ToxicityParams()).score(batch).measures["toxicity"].tolist()
    [0.0, 0.5, nan]
    """

    Params = ToxicityParams
    measures = ("toxicity",)

    def score(self, batch: Batch) -> Scores:
        values = np.full(len(batch), np.nan, dtype=np.float32)
        for index, (parts, language) in enumerate(
            zip(batch.segments, batch.languages, strict=True)
        ):
            listed = word_list(language)
            spaced = single_spaced(parts)
            if listed is not None and spaced:
                values[index] = 1 - 0.5 ** listed.hits(spaced)
        return Scores({"toxicity": values})

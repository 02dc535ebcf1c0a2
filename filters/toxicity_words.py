"""The scorer `words` of the filter `toxicity`: a transparent list of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from arbitrage.filters.base import Batch
from arbitrage.filters.segmentation import segments
from arbitrage.langid import identify
from arbitrage.language_labels import same_language
from arbitrage.language_model import load_model

# The list has one Norwegian part, written in Bokmål with some Nynorsk.
_LISTED_AS = {"nb": "no", "nn": "no", "tl": "fil"}

# From so many letters and so sure an identification on, a text is read in its own language: the
# English "con" and "nave" are no matter for the French and the Italian list.
_LETTERS, _SURE = 40, 0.8


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
    return _by_language("toxic_words.tsv")


@cache
def ordinary_terms() -> dict[str, tuple[str, ...]]:
    """Listed terms that are left out: ordinary words (pt comer, "eat"; zh 性, "nature")."""
    return _by_language("toxic_words_ordinary.tsv")


def _by_language(name: str) -> dict[str, tuple[str, ...]]:
    text = resources.files("arbitrage").joinpath("data", name).read_text("utf-8")
    terms: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        language, term, *_ = line.split("\t")
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
        "".join(segments(term, language))
        for tag in tags
        for term in set(listed_terms().get(tag, ())).difference(ordinary_terms().get(tag, ()))
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


class WordsScorer:
    """Scores 1 - 0.5 ** n for n listed terms in a text of a language that has a list.

    Source: List of Dirty, Naughty, Obscene, and Otherwise Bad Words (LDNOOBW, CC BY 4.0): 2,663
        terms in ar cs da de en eo es fa fi fil fr fr-CA hi hu it ja kab ko nl no pl pt ru sv th tlh
        tr zh. Longest terms first, no overlaps, case ignored, and only where a term begins and
        ends at a word boundary (in Chinese, Japanese and Thai those of the ICU dictionary). Left
        out are 152 that are ordinary words, each with its meaning (`toxic_words_ordinary.tsv`).
    Which list: that of the wanted language; of a text of 40 letters or more that is surely (0.8,
        lid.176) in another language, that language's, and where that has none it abstains.
    """

    measures: tuple[str, ...] = ("toxicity",)

    def serves(self, language: str) -> bool:
        return word_list(language) is not None

    def load(self) -> None:
        listed_terms()
        load_model()

    def score(self, batch: Batch, rows: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
        values = np.full(len(rows), np.nan, dtype=np.float32)
        tags, sure = identify([batch.texts[row] for row in rows], shortest=_LETTERS)
        for place, row in enumerate(rows):
            wanted, tag = batch.languages[row], tags[place]
            if tag is None or sure[place] < _SURE or same_language(wanted, tag):
                listed, parts = word_list(wanted), batch.segments[row]
            else:
                listed, parts = word_list(tag), segments(batch.texts[row], tag)
            if listed is not None:
                values[place] = 1 - 0.5 ** listed.hits(single_spaced(parts))
        return {"toxicity": values}

    def close(self) -> None:
        """Nothing to release: lists and identifier stay for the process."""

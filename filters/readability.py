"""How hard a completion is to read: Gunning's fog index and Rix, where these formulas hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from icu4py.breakers import SentenceBreaker
from pydantic import Field

from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.languages import base_language

# Rix takes the long words of Lix, which was made for Swedish and used with its neighbours.
RIX_LANGUAGES = frozenset(
    ("da", "de", "en", "es", "fi", "fr", "it", "nb", "nl", "nn", "no", "pt", "sv")
)
FOG_LANGUAGES = frozenset({"en"})

_LETTERS_OF_RIX = 6
_VOWELS = re.compile("[aeiouy]+")
_SILENT_E = re.compile("[^aeiouylr]e$|[aeiouy][lr]e$|[^aeiouytd]ed$")
_SILENT_ES = re.compile("(?<![sxzcg])(?<!sh)(?<!ch)(?<![^aeiouy]l)es$")
_ONE_SOUND = re.compile("[tscgx]i[oa](?=[nlu])")
_TWO_SOUNDS = re.compile("i[ao](?!u)|[eu]o(?!u)|ua|uity|ying|ism$|ea[lt][ei]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


def syllables(word: str) -> int:
    """Syllables of a lower-case English word, by its vowels; at least 1.

    Groups of vowels, less a silent e, plus vowels that are two sounds. Of the 68,325 words of
    recorded English answers that the CMU Pronouncing Dictionary has, 98 % fall on the same side of
    three syllables as there (docs/decisions/010).

    >>> [syllables(word) for word in ("beautiful", "created", "nation", "makes")]
    [3, 3, 2, 1]
    """
    count = len(_VOWELS.findall(word))
    count -= bool(_SILENT_E.search(word) or _SILENT_ES.search(word))
    count += len(_TWO_SOUNDS.findall(_ONE_SOUND.sub("x", word)))
    return max(count, 1)


def sentence_count(text: str) -> int:
    """Sentences that hold a letter or a digit, as ICU breaks them (Unicode Annex 29).

    >>> sentence_count("It is 3.5 km. Really? ... Yes!")
    3
    """
    breaker = SentenceBreaker(text.encode("utf-8", "replace").decode("utf-8"), "en")
    return sum(any(map(str.isalnum, sentence)) for sentence in breaker)


class Syllables(dict[str, int]):
    """Word -> its syllables, each counted on first sight: most words of a batch come often."""

    def __missing__(self, word: str) -> int:
        self[word] = syllables(word)
        return self[word]


def gunning_fog(
    words: Sequence[str], sentences: int, counted: Mapping[str, int] | None = None
) -> float:
    """0.4 * (words per sentence + percentage of words of three or more syllables).

    Args:
        counted: word -> syllables, where many texts share it.

    >>> gunning_fog("the animals are beautiful".split(), 1)
    21.6
    """
    count = Syllables() if counted is None else counted
    hard = sum(count[word] >= 3 for word in words)
    return 0.4 * (len(words) / sentences + 100 * hard / len(words))


def rix(words: Sequence[str], sentences: int) -> float:
    """Words of more than six letters, per sentence.

    >>> rix("the animals are beautiful".split(), 1)
    2.0
    """
    return sum(len(word) > _LETTERS_OF_RIX for word in words) / sentences


class ReadabilityParams(FilterParams):
    """From how many words on to measure, and the thresholds."""

    shortest_words: int = Field(50, ge=1, description="Abstain on texts of fewer words.")
    min_gunning_fog: float | None = Field(None, ge=0, description="Least fog of a kept text.")
    max_gunning_fog: float | None = Field(None, ge=0, description="Most fog of a kept text.")
    min_rix: float | None = Field(None, ge=0, description="Least Rix of a kept text.")
    max_rix: float | None = Field(None, ge=0, description="Most Rix of a kept text.")


@register("readability", version=1)
class Readability(Filter):
    """Measures reading difficulty by Gunning's fog index and Rix, where they hold.

    Source: Gunning 1952, The Technique of Clear Writing; Anderson 1983, "Lix and Rix", Journal of
        Reading 26; both as the toolkit of LLM See, LLM Do (arXiv 2407.01490) has them: 0.4 * (words
        per sentence + percentage of words of three or more syllables), and words of more than six
        letters per sentence. Not implemented: Gunning's exceptions (names, compounds, -es, -ed).
    Reads: texts; languages.
    Writes: `readability.gunning_fog` and `readability.rix`, float32 [n].
    Score: 0 upwards, higher is harder. The fog index is meant as years of schooling.
    Rejects: too_easy (`min_gunning_fog`, `min_rix`), too_hard (`max_gunning_fog`, `max_rix`).
    Abstains: on texts of fewer than `shortest_words` words, and on those with fewer than nine in
        ten of their words in Latin letters; gunning_fog outside English; rix outside en sv da nb nn
        no de nl fr es it pt fi. In other languages the formulas have no meaning.
    Cost: about 4 MB of English text a second on one core, a third of it finding the words.
    Blind spots: a text in another language than the wanted one is measured as if it were in it.
        Every line counts as a sentence at least, so lists and verse look easy; "Dr." ends one.
        Syllables are estimated from spelling. Values do not compare across languages: German
        compounds are long words, and Finnish has hardly any short ones.

    >>> from arbitrage.filters.base import Batch
    >>> text = "The animals are beautiful. We saw them at the lake."
    >>> batch = Batch([text, text], ["en", "tr"], [None, None])
    >>> scores = Readability(ReadabilityParams(shortest_words=5)).score(batch)
    >>> scores.measures["gunning_fog"].round(1).tolist(), scores.measures["rix"].tolist()
    ([10.0, nan], [1.0, nan])
    """

    Params = ReadabilityParams
    measures = ("gunning_fog", "rix")
    causes: ClassVar[Mapping[str, str]] = {
        "min_gunning_fog": "too_easy",
        "min_rix": "too_easy",
        "max_gunning_fog": "too_hard",
        "max_rix": "too_hard",
    }

    def score(self, batch: Batch) -> Scores:
        fog = np.full(len(batch), np.nan, dtype=np.float32)
        long_words = np.full(len(batch), np.nan, dtype=np.float32)
        counted = Syllables()
        for index, (text, tag) in enumerate(zip(batch.texts, batch.languages, strict=True)):
            language = base_language(tag)
            if language not in RIX_LANGUAGES:
                continue
            words = batch.words[index]
            latin = sum(_LATIN.match(word) is not None for word in words)
            if len(words) < self.params.shortest_words or 10 * latin < 9 * len(words):
                continue
            sentences = sentence_count(text)
            long_words[index] = rix(words, sentences)
            if language in FOG_LANGUAGES:
                fog[index] = gunning_fog(words, sentences, counted)
        return Scores({"gunning_fog": fog, "rix": long_words})

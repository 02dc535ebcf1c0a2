"""Whether a completion leaves its language: for a line (LPR), or for an English word (WPR)."""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.filters.tokenisers import TOKENISERS, load_authors_tokens
from arbitrage.filters.word_lists import english_words
from arbitrage.language_labels import tag_of_label
from arbitrage.language_model import first_labels, labels_for, load_model
from arbitrage.languages import base_language
from arbitrage.reach import Reach

# WPR of other languages is of no use where they are written in Latin letters. These are the ones of
# the benchmark that are not.
WORD_LANGUAGES = ("ar", "hi", "ja", "ko", "ru", "zh")

_DROPPED = re.compile(f"[{re.escape(string.punctuation)}،]+")
_LOWER = re.compile("[a-z]")


def judged_lines(text: str) -> list[str]:
    """The lines of a completion as the benchmark reads them: what precedes a line that begins with
    "Q:", without ASCII punctuation and Arabic commas. Lone surrogates are dropped.

    >>> judged_lines("Ja, klar — gern!\\nA: Ja.\\nQ: What?")
    ['Ja klar   gern', 'A Ja']
    """
    if not text.isascii():
        text = text.encode("utf-8", "ignore").decode("utf-8")
    text = _DROPPED.sub("", text.split("\nQ:")[0].strip())
    return text.replace("—", " ").split("\n")


class LanguageConfusionParams(FilterParams):
    """What the benchmark fixes, the list of English words, and the thresholds."""

    english_words: Annotated[str | None, Reach.READ] = Field(
        None, description="Path of another list of English words, one a line, UTF-8."
    )
    model: Annotated[str | None, Reach.READ] = Field(
        None, description="Path of another fastText identifier."
    )
    tokens: Literal["authors", "icu"] = Field(
        "authors", description="How lines are split: as the authors do, or into words by ICU."
    )
    shortest_tokens: int = Field(5, ge=1, description="Lines with fewer tokens are not judged.")
    least_probability: float = Field(
        0.3, ge=0, le=1, description="A line's language is unknown, thus wrong, up to here."
    )
    word_languages: tuple[str, ...] = Field(
        WORD_LANGUAGES, description="Languages in which English words are looked for."
    )
    unscorable: Literal["abstain", "pass"] = Field(
        "abstain", description='Where no line can be judged: abstain, or 1 ("pass").'
    )
    min_line_pass: float | None = Field(None, ge=0, le=1, description="1 keeps clean texts only.")
    min_word_pass: float | None = Field(None, ge=0, le=1, description="1 keeps clean texts only.")
    max_wrong_lines: float | None = Field(None, ge=0, description="Most wrong lines of a text.")


@register("language_confusion", version=1)
class LanguageConfusion(Filter):
    """Finds lines in another language and English words, as the Language Confusion Benchmark does.

    Source: Marchisio et al. 2024, "Understanding and Mitigating Language Confusion in LLMs" (arXiv
        2406.20052) and the authors' program: text before "\\nQ:"; ASCII punctuation and "،"
        removed, "—" a space; lines of at least five tokens (jieba for zh, MeCab for ja, else white
        space); a line's language is fastText's first label if its probability is over 0.3, else
        unknown, which is wrong; a token is English if it is in a list of lower-case words of over 3
        letters. Different here: lid.176.ftz for .bin, unidic-lite for UniDic, SCOWL for their list
        of words (`english_words` takes theirs); docs/language-confusion.md has the differences.
    Reads: texts; languages.
    Writes: `language_confusion.line_pass`, `language_confusion.word_pass`,
        `language_confusion.lines` and `language_confusion.wrong_lines`, float32 [n]; the labels
        `language_confusion.wrong_language`, the tag found for the first wrong line ("und" for
        unknown), and `language_confusion.english_word`, the first one.
    Score: line_pass is 1 where all judged lines are in the wanted language, else 0; word_pass, of
        texts whose lines pass, 1 where no token is English, else 0; lines counts the judged ones.
        Their means are LPR and WPR (`arbitrage.filters.confusion_rates`).
    Rejects: wrong_line (`min_line_pass`, `max_wrong_lines`), english_word (`min_word_pass`).
    Abstains: in everything where the model has no label for the wanted language; where no line is
        long enough in all but lines, which is 0 (with `unscorable = "pass"` the passes are 1, as
        the authors' rate of nothing); word_pass also where a line is wrong and outside
        `word_languages`.
    Cost: about 4 MB of text or 11,000 answers a second on one core, over half of it in fastText,
        most of the rest in jieba and MeCab, which take a second to load.
    Blind spots: scripts without spaces seldom have five tokens by white space, so a Thai line, and
        a Chinese or Japanese one where neither is wanted, is not judged: `tokens = "icu"` does, and
        `language_id` sees it. Code, formulas and names are judged as text. Close languages (id and
        ms; hr, sr and bs) fail a line that is right; Cantonese and Wu are wrong where Chinese is
        wanted. Capitalised English words pass. Script is not judged (zh-Hans passes for zh-Hant).

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["Сегодня очень хорошая погода утром\\n- ok", "Turn it off and on again", "Да"]
    >>> batch = Batch(texts, ["ru"] * 3, [None] * 3)
    >>> scores = LanguageConfusion(LanguageConfusionParams()).score(batch)
    >>> scores.measures["line_pass"].tolist(), scores.labels["wrong_language"]
    ([1.0, 0.0, nan], [None, 'en', None])
    """

    Params = LanguageConfusionParams
    measures = ("line_pass", "word_pass", "lines", "wrong_lines")
    labels = ("wrong_language", "english_word")
    causes: ClassVar[Mapping[str, str]] = {
        "min_line_pass": "wrong_line",
        "max_wrong_lines": "wrong_line",
        "min_word_pass": "english_word",
    }
    fears: ClassVar[Mapping[str, Fear]] = {
        "line_pass": Fear("low", "answers with a line in another language"),
        "word_pass": Fear("low", "English words in its answers"),
    }
    params: LanguageConfusionParams

    @cached_property
    def _english(self) -> frozenset[str]:
        return english_words(self.params.english_words)

    @cached_property
    def _all_have_a_to_z(self) -> bool:
        return all(map(_LOWER.search, self._english))

    def load(self, languages: Collection[str] | None = None) -> None:
        load_model(self.params.model)
        _ = self._english
        if self.params.tokens == "authors":
            known = ("zh", "ja") if languages is None else languages
            load_authors_tokens({base_language(language) for language in known})

    def score(self, batch: Batch) -> Scores:
        size = len(batch)
        values = {name: np.full(size, np.nan, dtype=np.float32) for name in self.measures}
        labels: dict[str, list[str | None]] = {name: [None] * size for name in self.labels}
        known = [labels_for(language, self.params.model) for language in batch.languages]
        judged = self.judged(batch)
        found = self._found([line for lines in judged for line in lines])
        for index, (lines, wanted) in enumerate(zip(judged, known, strict=True)):
            if not wanted:
                continue
            language = base_language(batch.languages[index])
            words_count = language in self.params.word_languages
            wrong = [label for label in islice(found, len(lines)) if label not in wanted]
            values["lines"][index] = len(lines)
            if lines:
                values["wrong_lines"][index] = len(wrong)
                values["line_pass"][index] = not wrong
                if wrong:
                    labels["wrong_language"][index] = tag_of_label(wrong[0]) if wrong[0] else "und"
                elif words_count:
                    word = self._english_word(lines, language)
                    labels["english_word"][index] = word
                    values["word_pass"][index] = word is None
            elif self.params.unscorable == "pass":
                values["line_pass"][index] = 1
                if words_count:
                    values["word_pass"][index] = 1
        return Scores(values, labels)

    def judged(self, batch: Batch) -> list[list[str]]:
        """The lines of each text that are judged; none where the model has no label for the wanted
        language."""
        return [
            self._long_enough(text, language) if labels_for(language, self.params.model) else []
            for text, language in zip(batch.texts, batch.languages, strict=True)
        ]

    def _long_enough(self, text: str, language: str) -> list[str]:
        tokens, fewest = TOKENISERS[self.params.tokens], self.params.shortest_tokens
        base = base_language(language)
        return [
            line
            for line in judged_lines(text)
            # A token has at least one character.
            if len(line) >= fewest and _at_least(fewest, tokens(line, base))
        ]

    def _found(self, lines: list[str]) -> Iterator[str]:
        """The label of each line, "" where it is not certain enough."""
        labels, probabilities = first_labels(lines, self.params.model)
        least = self.params.least_probability
        return (
            label if probability > least else ""
            for label, probability in zip(labels, probabilities, strict=True)
        )

    def _english_word(self, lines: list[str], language: str) -> str | None:
        tokens = TOKENISERS[self.params.tokens]
        for line in lines:
            # Splitting is the dearest step and most lines have no English in them.
            if self._all_have_a_to_z and not _LOWER.search(line):
                continue
            for token in tokens(line, language):
                if token.strip() in self._english:
                    return token.strip()
        return None


def _at_least(fewest: int, tokens: Iterable[str]) -> bool:
    return len(list(islice(tokens, fewest))) == fewest

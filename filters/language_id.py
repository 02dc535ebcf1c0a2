"""Whether a completion is in the language that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import islice
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.langid import identify, rank
from arbitrage.language_labels import same_language, wanted_script
from arbitrage.language_model import can_identify
from arbitrage.languages import base_language, language_facts
from arbitrage.reach import Reach
from arbitrage.scripts import SEVERAL_SCRIPTS, script_in_use

# Codes that stand for more than one script: a tag that names one of its parts contradicts nothing.
_OF_SEVERAL = frozenset({"Jpan", "Kore", "Hrkt"})

# The most likely language, or the tags of several.
Likely = str | tuple[str, ...] | None


class LanguageIdParams(FilterParams):
    """From how many letters on to judge, which model, how strictly, and the thresholds."""

    shortest_letters: int = Field(20, ge=1, description="Abstain on texts with fewer letters.")
    model: Annotated[str | None, Reach.READ] = Field(
        None, description="Path of another fastText identifier."
    )
    top_k: int = Field(
        1, ge=1, description="Matches if the wanted language is among the k most likely ones."
    )
    lines: bool = Field(False, description="Also measure the share of lines that match.")
    min_probability: float | None = Field(None, ge=0, le=1, description="Least certainty.")
    min_match: float | None = Field(
        None, ge=0, le=1, description="1 keeps the wanted language only."
    )
    min_line_match: float | None = Field(
        None, ge=0, le=1, description="Least share of lines in the wanted language."
    )


@register("language_id", version=2)
class LanguageId(Filter):
    """Identifies the language of each text and says whether it is the wanted one.

    Source: fastText lid.176 (Joulin et al. 2016, arXiv 1607.01759 and 1612.03651), the
        compressed model; a label that an East Asian script rules out gives way to the next one.
        `model` takes any other fastText identifier; labels like srp_Latn (GlotLID, OpenLID, NLLB)
        become BCP-47 tags too.
    Reads: texts; languages.
    Writes: `language_id.probability`, `language_id.match` and `language_id.line_match`, float32
        [n]; the label `language_id.language`, a BCP-47 tag, with the script where a language is
        written in several and the text is not in its first one (sr-Latn, zh-Hant, uz-Cyrl).
    Score: probability of the most likely language, 0 to 1; match is 1 for the wanted language and 0
        for another (`arbitrage.language_labels.same_language` says what counts as the same), the
        first of `top_k` or any. A wanted tag with a script, or a Chinese one with a region, asks
        for that script: zh-TW does not match simplified characters, zh matches both. line_match is
        the share of lines, of those with enough letters, that match.
    Rejects: uncertain_language (`min_probability`), wrong_language (`min_match`), wrong_line
        (`min_line_match`).
    Abstains: on texts with fewer than `shortest_letters` letters, a Han, kana or Hangul character
        counting two; match and line_match also where the model has no label for the wanted
        language; line_match where no line is long enough, and always without `lines`. The
        default of 20 comes from lines of recorded answers: right for 74 % of the Latin-script lines
        of 10 to 14 letters, 91 % of 20 to 29, 99.5 % of 50 to 99.
    Cost: about 6 MB of text or 17,000 answers a second on one core, 85 to 90 % of it in fastText;
        `lines` doubles it.
    Blind spots: one language per text: a paragraph or a word of another one in the middle passes
        unless `lines` is set. Of texts over 9,000 characters 3,000 each from start, middle and end
        are read. Romanised Hindi is seldom recognised. Close languages are confused, most on short
        texts: of messages of 50 letters or more 4 % of Bosnian ones match (hr, sr), 47 % of Nynorsk
        (nb, da), 50 % of Malay (id), 58 % of Galician (es, pt), 71 % of Bokmål (da), 66 % of
        Croatian and 79 % of Latin Serbian; docs/language-confusion.md has the table. With `top_k` 3
        it is 94 % and more, Bosnian (54 %) apart.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["Добрый день, как у вас дела?", "Sorry, I cannot help with that.", "OK"]
    >>> batch = Batch(texts, ["ru", "ru", "ru"], [None] * 3)
    >>> scores = LanguageId(LanguageIdParams()).score(batch)
    >>> scores.labels["language"], scores.measures["match"].tolist()
    (['ru', 'en', None], [1.0, 0.0, nan])
    """

    Params = LanguageIdParams
    measures = ("probability", "match", "line_match")
    labels = ("language",)
    causes: ClassVar[Mapping[str, str]] = {
        "min_match": "wrong_language",
        "min_probability": "uncertain_language",
        "min_line_match": "wrong_line",
    }
    fears: ClassVar[Mapping[str, Fear]] = {
        "match": Fear("low", "answers in another language"),
    }
    params: LanguageIdParams

    def score(self, batch: Batch) -> Scores:
        tags, probability, likely = self._identified(batch.texts)
        match = np.full(len(batch), np.nan, np.float32)
        labels: list[str | None] = [None] * len(batch)
        for index, tag in enumerate(tags):
            if tag is not None:
                script = _script(batch.texts[index], tag)
                labels[index] = _in_script(tag, script)
                match[index] = self._match(batch.languages[index], likely[index], script)
        measures = {
            "probability": probability,
            "match": match,
            "line_match": self._line_match(batch),
        }
        return Scores(measures, {"language": labels})

    def _identified(
        self, texts: Sequence[str]
    ) -> tuple[list[str | None], NDArray[np.float32], Sequence[Likely]]:
        """The first language of each text, its probability, and the likely ones of `top_k`."""
        shortest, model = self.params.shortest_letters, self.params.model
        if self.params.top_k == 1:
            tags, probability = identify(texts, shortest=shortest, model=model)
            return tags, probability, tags
        guesses = rank(texts, k=self.params.top_k, shortest=shortest, model=model)
        return (
            [found[0][0] if found else None for found in guesses],
            np.array([found[0][1] if found else np.nan for found in guesses], dtype=np.float32),
            [tuple(tag for tag, _ in found) for found in guesses],
        )

    def _match(self, wanted: str, likely: Likely, script: str | None) -> float:
        return _matches(wanted, likely, script, self.params.model)

    def _line_match(self, batch: Batch) -> NDArray[np.float32]:
        shares = np.full(len(batch), np.nan, np.float32)
        if not self.params.lines:
            return shares
        lines = [text.splitlines() for text in batch.texts]
        tags, _, likely = self._identified([line for part in lines for line in part])
        pairs = zip(tags, likely, strict=True)
        for index, (part, wanted) in enumerate(zip(lines, batch.languages, strict=True)):
            found = [some for tag, some in islice(pairs, len(part)) if tag is not None]
            if found:
                shares[index] = np.mean([self._match(wanted, some, None) for some in found])
        return shares


@lru_cache(maxsize=2**16)
def _matches(wanted: str, likely: Likely, script: str | None, model: str | None) -> float:
    """1 or 0; NaN where the model does not know the wanted language."""
    if not can_identify(wanted, model):
        return np.nan
    asked = wanted_script(wanted)
    if asked is not None and script is not None and asked != script:
        return 0.0
    found = (likely,) if isinstance(likely, str) else likely or ()
    return float(any(same_language(wanted, tag) for tag in found))


def _script(text: str, tag: str) -> str | None:
    """The script that a text of a language is in: read from it where the language has several."""
    base = base_language(tag)
    return script_in_use(text, base) if base in SEVERAL_SCRIPTS else _script_of_label(tag)


@cache
def _script_of_label(tag: str) -> str | None:
    facts = language_facts(base_language(tag))
    own = facts.script if facts is not None and facts.script not in _OF_SEVERAL else None
    return wanted_script(tag) or own


@cache
def _in_script(tag: str, script: str | None) -> str:
    """The tag with the script the text is in, where that is not the language's first one."""
    base = base_language(tag)
    if script is None or base not in SEVERAL_SCRIPTS:
        return tag
    facts = language_facts(base)
    return base if facts is not None and facts.script == script else f"{base}-{script}"

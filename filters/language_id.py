"""Whether a completion is in the language that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.langid import can_identify, identify, same_language


class LanguageIdParams(FilterParams):
    """From how many letters on to judge, which model, and the thresholds."""

    shortest_letters: int = Field(20, ge=1, description="Abstain on texts with fewer letters.")
    model: str | None = Field(None, description="Path of another fastText identifier.")
    min_probability: float | None = Field(None, ge=0, le=1, description="Least certainty.")
    min_match: float | None = Field(
        None, ge=0, le=1, description="1 keeps the wanted language only."
    )


@register("language_id", version=1)
class LanguageId(Filter):
    """Identifies the language of each text and says whether it is the wanted one.

    Source: fastText lid.176 (Joulin et al. 2016, arXiv 1607.01759 and 1612.03651), the
        compressed model; a label that an East Asian script rules out gives way to the next one.
    Reads: texts; languages.
    Writes: `language_id.probability` and `language_id.match`, float32 [n]; the label
        `language_id.language`, a BCP-47 tag.
    Score: probability of the most likely language, 0 to 1; match is 1 for the wanted language and 0
        for another (`arbitrage.langid.same_language` says what counts as the same).
    Rejects: uncertain_language (`min_probability`), wrong_language (`min_match`).
    Abstains: on texts with fewer than `shortest_letters` letters, a Han, kana or Hangul character
        counting two; match alone also where the model has no label for the wanted language. The
        default of 20 comes from lines of recorded answers: right for 74 % of the Latin-script lines
        of 10 to 14 letters, 91 % of 20 to 29, 99.5 % of 50 to 99.
    Cost: about 7 MB of text or 17,000 answers a second on one core, about 80 % of it in fastText.
    Blind spots: one language per text: a paragraph or a word of another one in the middle passes.
        Of texts over 9,000 characters 3,000 each from start, middle and end are read. Script is
        not judged: zh-Hans passes for zh-Hant. Romanised Hindi is seldom recognised. Close
        languages (hr, sr and bs; id and ms; da and nb) are confused, most on short texts.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["Добрый день, как у вас дела?", "Sorry, I cannot help with that.", "OK"]
    >>> batch = Batch(texts, ["ru", "ru", "ru"], [None] * 3)
    >>> scores = LanguageId(LanguageIdParams()).score(batch)
    >>> scores.labels["language"], scores.measures["match"].tolist()
    (['ru', 'en', None], [1.0, 0.0, nan])
    """

    Params = LanguageIdParams
    measures = ("probability", "match")
    labels = ("language",)
    causes: ClassVar[Mapping[str, str]] = {
        "min_match": "wrong_language",
        "min_probability": "uncertain_language",
    }

    def score(self, batch: Batch) -> Scores:
        language, probability = identify(
            batch.texts, shortest=self.params.shortest_letters, model=self.params.model
        )
        match = [
            float(same_language(wanted, found)) if found and can_identify(wanted) else np.nan
            for wanted, found in zip(batch.languages, language, strict=True)
        ]
        measures = {"probability": probability, "match": np.array(match, dtype=np.float32)}
        return Scores(measures, {"language": language})

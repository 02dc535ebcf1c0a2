"""How long a completion is, in words and in characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register


class LengthParams(FilterParams):
    """Thresholds on the number of words and characters."""

    min_words: int | None = Field(None, ge=0, description="Fewest words a kept text has.")
    max_words: int | None = Field(None, ge=0, description="Most words a kept text has.")
    min_characters: int | None = Field(None, ge=0, description="Fewest characters.")
    max_characters: int | None = Field(None, ge=0, description="Most characters.")


@register("length", version=1)
class Length(Filter):
    """Counts the words and the characters of each text.

    Source: words as `arbitrage.filters.segmentation` cuts them (Unicode Annex 29, ICU).
    Reads: texts; languages, only for the rule that lowers I.
    Writes: `length.words` and `length.characters`, float32 [n].
    Score: 0 upwards; characters are Unicode code points, so an emoji family or a Hindi syllable
        counts as several.
    Rejects: too_short (under `min_words` or `min_characters`), too_long (over `max_words` or
        `max_characters`).
    Abstains: never; an empty text has 0 words and 0 characters.
    Cost: about 10 MB of text a second on one core.
    Blind spots: lengths do not compare across languages: the same content takes more words in
        Vietnamese than in Turkish and fewer characters in Chinese than in either.

    >>> from arbitrage.filters.base import Batch
    >>> batch = Batch(["สวัสดีครับ", "Hello there"], ["th", "en"], [None, None])
    >>> scores = Length(LengthParams()).score(batch)
    >>> scores.measures["words"].tolist(), scores.measures["characters"].tolist()
    ([2.0, 2.0], [10.0, 11.0])
    """

    Params = LengthParams
    measures = ("words", "characters")
    causes: ClassVar[Mapping[str, str]] = {
        "min_words": "too_short",
        "min_characters": "too_short",
        "max_words": "too_long",
        "max_characters": "too_long",
    }

    def score(self, batch: Batch) -> Scores:
        counts = [len(words) for words in batch.words]
        characters = [len(text) for text in batch.texts]
        return Scores(
            {
                "words": np.array(counts, dtype=np.float32),
                "characters": np.array(characters, dtype=np.float32),
            }
        )

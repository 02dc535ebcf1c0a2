"""A filter of your own in one file. Nothing to install, nothing to edit elsewhere.

    python examples/custom_filter/preamble.py run examples/quickstart/run.toml \
        --set filters.preamble.max_present=0

is `arbitrage run` with this filter known to it, and every other command works so too. Or import
this module before calling `distill`. To ship a filter with the package, put the file into filters/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.filters.segmentation import fold

PHRASES = (
    *("sure,", "sure!", "certainly!", "of course!", "here is a", "here is the", "here's a"),
    *("¡claro!", "¡por supuesto!", "claro, aquí", "bien sûr", "certo!", "claro!", "natürlich!"),
    *("конечно!", "当然", "もちろん", "물론", "tabii", "tentu", "chắc chắn", "بالطبع", "ज़रूर"),
)


class PreambleParams(FilterParams):
    """What a config may write under [filters.preamble]; anything else there is an error."""

    # Changes what is measured, so a new value measures again (and generates nothing).
    phrases: tuple[str, ...] = Field(PHRASES, description="How preambles begin, in lower case.")
    # max_ or min_ + a measure = a threshold: decided on, never measured with.
    max_present: float | None = Field(None, ge=0, le=1, description="0 rejects preambles.")


@register("preamble", version=1)  # a new version measures everything again
class Preamble(Filter):
    """Says whether each answer begins with a courtesy such as "Sure!".

    Source: written for this example.
    Reads: texts; languages, only for the rule that lowers I.
    Writes: `preamble.present`, float32 [n], and the label `preamble.phrase`.
    Score: 1 where the text begins with one of the phrases, else 0.
    Rejects: begins_with_preamble (`max_present`).
    Abstains: on empty and white-space texts.
    Cost: next to nothing; only the beginning is read.
    Blind spots: "Sure, it was late" is no preamble and counts as one; two dozen phrases are few.

    >>> scores = Preamble(PreambleParams()).score(Batch(["Sure! Hi.", ""], ["en"] * 2, [None] * 2))
    >>> scores.measures["present"].tolist(), scores.labels["phrase"]
    ([1.0, nan], ['sure!', None])
    """

    Params = PreambleParams
    measures = ("present",)
    labels = ("phrase",)
    causes: ClassVar[Mapping[str, str]] = {"max_present": "begins_with_preamble"}

    def score(self, batch: Batch) -> Scores:
        present = np.full(len(batch), np.nan, dtype=np.float32)  # NaN: abstained
        phrases: list[str | None] = [None] * len(batch)
        for index, (text, language) in enumerate(zip(batch.texts, batch.languages, strict=True)):
            start = fold(text.lstrip()[:100], language)
            if start:
                found = [phrase for phrase in self.params.phrases if start.startswith(phrase)]
                present[index] = bool(found)
                phrases[index] = max(found, key=len, default=None)
        return Scores({"present": present}, {"phrase": phrases})


if __name__ == "__main__":
    from arbitrage.flows.cli import main

    main()

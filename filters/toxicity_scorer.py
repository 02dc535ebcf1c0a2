"""The seam between the filter `toxicity` and what scores a text for it: a list, a model, a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arbitrage.filters.base import Batch


class ToxicityScorer(Protocol):
    """What scores toxicity. Built once per process and params; `score` may run in several threads.

    Building one is cheap and does no I/O; what is heavy waits for `load` or the first `score`.

    Attributes:
        measures: what it scores; the first is "toxicity".
    """

    @property
    def measures(self) -> tuple[str, ...]: ...

    def serves(self, language: str) -> bool:
        """Whether it was trained, listed or evaluated well for a language, a BCP-47 tag."""
        ...

    def load(self) -> None:
        """Load what `score` needs, once; a FilterError that says the mend where that fails."""
        ...

    def score(self, batch: Batch, rows: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
        """Measure -> float32 [len(rows)] in 0 to 1, for these rows of the batch; NaN = abstained.

        A text's scores do not depend on the other rows. Rows of texts without a visible character,
        and of languages that are not served, come only where the filter was told to score them.
        """
        ...

    def close(self) -> None:
        """Release what was loaded; a later `score` loads it again."""
        ...

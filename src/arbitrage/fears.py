"""What a language lead fears of a measure: the seam between filters, which say it, and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fear:
    """Which side of a measure is the bad one, and what it is in words.

    >>> Fear("low", "answers in another language").worst([0.9, 0.2])
    0.2
    """

    side: Literal["low", "high"]
    of: str

    def worst(self, values: list[float]) -> float:
        """The worst of some values."""
        return min(values) if self.side == "low" else max(values)

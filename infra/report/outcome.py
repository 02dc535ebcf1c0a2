"""How a run ended, in a sentence: what was kept, and every way in which it fell short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.limits import shortfalls


@dataclass(frozen=True, slots=True)
class Outcome:
    """`kept` of `requested` candidates, and the sentences of whatever is missing.

    >>> Outcome(812, 900, ("teacher b died (refused)",)).sentence
    'kept 812 of 900; teacher b died (refused)'
    """

    kept: int
    requested: int
    shortfalls: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Outcome:
        """From a finished run's manifest; the command line exits 3 for the same reasons."""
        totals = manifest["totals"]
        requested, failed = totals["requested"], totals["failed"]
        tolerated = manifest["config"]["run"]["max_failed_share"]
        said = [f"teacher {d['teacher']} died ({d['reason']})" for d in manifest.get("deaths", [])]
        unasked = sum(cell["failures"].get(SPENT, 0) for cell in manifest["counts"]["cells"])
        if unasked:
            said.append(f"the budget is spent: {unasked:,} were not asked for")
        if (failed / requested if requested else 1.0) > tolerated:
            said.append(f"{failed:,} of {requested:,} failed, more than {tolerated:.1%}")
        return cls(totals["kept"], requested, (*said, *shortfalls(manifest)))

    @property
    def sentence(self) -> str:
        return "; ".join((f"kept {self.kept:,} of {self.requested:,}", *self.shortfalls))

"""Why answers and prompts were lost: a line a reason, the languages it hit most."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from arbitrage.infra.report.counts import Counts
from arbitrage.infra.report.escaping import plain

_MOST_LANGUAGES = 5


@dataclass(frozen=True, slots=True)
class Drop:
    """One reason.

    Attributes:
        what: "answer rejected", "answer failed" or "prompt not asked".
        share: of all requested answers, or of all prompts that were not asked.
        languages: language -> how many, the most first.
    """

    reason: str
    what: str
    count: int
    share: float
    languages: tuple[tuple[str, int], ...]

    @property
    def where(self) -> str:
        """The languages it hit most, in words.

        >>> Drop("a.b", "answer failed", 3, 0.1, (("tr", 2), ("ar", 1))).where
        'tr 2, ar 1'
        """
        most = [f"{plain(tag)} {count:,}" for tag, count in self.languages[:_MOST_LANGUAGES]]
        rest = len(self.languages) - len(most)
        return ", ".join(most) + (f" and {rest} more" if rest else "")


def drops(counts: Counts) -> list[Drop]:
    """Every reason of a run, those of most first.

    An answer that was rejected for two reasons is in both lines.
    """
    cells = counts.cells.items()
    lost = [
        *_lines("answer rejected", ((tag, cell.reasons) for (tag, _), cell in cells)),
        *_lines("answer failed", ((tag, cell.failures) for (tag, _), cell in cells)),
    ]
    unasked = counts.unroutable.items()
    prompts = _lines("prompt not asked", ((tag, item.reasons) for tag, item in unasked))
    requested, missing = counts.total().requested, counts.unroutable_total.prompts
    found = [_drop(line, requested) for line in lost] + [_drop(line, missing) for line in prompts]
    return sorted(found, key=lambda drop: (-drop.count, drop.reason))


_Line = tuple[str, str, Counter[str]]


def _lines(what: str, parts: Iterable[tuple[str, Counter[str]]]) -> list[_Line]:
    by_reason: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for tag, reasons in parts:
        for reason, count in reasons.items():
            by_reason[reason][tag] += count
    return [(reason, what, languages) for reason, languages in by_reason.items()]


def _drop(line: _Line, whole: int) -> Drop:
    reason, what, languages = line
    count = sum(languages.values())
    ordered = sorted(languages.items(), key=lambda item: (-item[1], item[0]))
    return Drop(reason, what, count, count / whole if whole else 0.0, tuple(ordered))

"""Whom to fear for what: the worst and the best teachers of every language by each attribute."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arbitrage.fears import Fear
from arbitrage.infra.report.cells import EXPECTED_MAXIMUM
from arbitrage.infra.report.feared import fear_of
from arbitrage.infra.report.inheritance import Attribute
from arbitrage.infra.report.separation import FEWEST_PROMPTS, told_apart
from arbitrage.infra.report.tallies import Tallies


@dataclass(frozen=True, slots=True)
class Judged:
    """One attribute in one language: who is worst, who is best, or that nobody can tell.

    Attributes:
        side, of: as in `arbitrage.fears.Fear`.
        worst: the teachers that are surely worse than the best one and not surely better than the
            worst one, worst first; empty where the worst and the best are not told apart.
        best: the same from the other end.
        teachers: the attribute of each teacher that was compared, worst first; below two there was
            nothing to compare.
        too_few: teachers with under five measured prompts, of which nothing is said.
    """

    language: str
    measure: str
    side: str
    of: str
    worst: tuple[str, ...]
    best: tuple[str, ...]
    teachers: tuple[Attribute, ...]
    too_few: tuple[str, ...]

    @property
    def compared(self) -> bool:
        return len(self.teachers) > 1

    @property
    def by_teacher(self) -> dict[str, Attribute]:
        return {item.teacher: item for item in self.teachers}


def judged(tallies: Tallies, attributes: Iterable[Attribute]) -> list[Judged]:
    """Every attribute that has a bad side, by language: those told apart first, widest gap first.

    Teachers are compared on the prompts that they answered (`separation.told_apart`): about one
    language in twenty has any false statement.

    Args:
        tallies: of a run; attributes: their means and intervals.
    """
    known = {(item.language, item.teacher, item.measure): item for item in attributes}
    return [item for tag in sorted(tallies.together) for item in _of_language(tag, tallies, known)]


def sentence(items: Sequence[Judged]) -> str:
    """What one language's judged attributes say, in one sentence.

    The teacher with most to be feared comes first; of each, what has the widest gap.
    """
    if not any(item.compared for item in items):
        return "no two teachers have answers enough to compare."
    feared: dict[str, list[str]] = {}
    for item in items:
        for teacher in item.worst:
            feared.setdefault(teacher, []).append(item.of)
    if not feared:
        return "no teacher is told apart from the others."
    order = sorted(feared, key=lambda teacher: (-len(feared[teacher]), teacher))
    return "fear " + "; ".join(f"{name} for {_listed(feared[name])}" for name in order) + "."


def _of_language(
    language: str, tallies: Tallies, known: Mapping[tuple[str, str, str], Attribute]
) -> list[Judged]:
    together = tallies.together[language]
    teachers = sorted(together.teachers)
    answers = [tallies.answers[language, teacher] for teacher in teachers]
    measures = list(tallies.feared)
    if EXPECTED_MAXIMUM in measures and all(item.most <= 1 for item in answers):
        # Of one sample the greatest is the sample: the same figures as the mean's.
        measures.remove(EXPECTED_MAXIMUM)
    fears = {name: fear for name in measures if (fear := fear_of(name))}
    if not fears:
        return []
    binary = np.all([item.binary for item in answers], axis=0)
    shares = np.array([binary[tallies.names.index(name)] for name in measures], dtype=np.bool_)
    columns = together.columns([tallies.feared.index(name) for name in measures], teachers)
    apart = told_apart(together.ratios, columns, shares, zlib.crc32(language.encode()))
    found: list[tuple[float, Judged]] = []
    for place, name in enumerate(measures):
        cells = [known[language, teacher, name] for teacher in teachers]
        gap, item = _judged(fears[name], cells, apart[place])
        found.append((gap, item))
    return [item for _, item in sorted(found, key=lambda pair: -pair[0])]


def _judged(fear: Fear, cells: Sequence[Attribute], apart: np.ndarray) -> tuple[float, Judged]:
    """A judged attribute, and the gap between its worst and best in widths of their intervals."""
    enough = [at for at, item in enumerate(cells) if item.prompts >= FEWEST_PROMPTS]
    sign = 1 if fear.side == "low" else -1
    order = sorted(enough, key=lambda at: (sign * (cells[at].mean or 0.0), cells[at].teacher))
    worst: list[int] = []
    best: list[int] = []
    gap = 0.0
    if len(order) > 1 and apart[order[0], order[-1]]:
        low, high = order[0], order[-1]
        worst = [at for at in order if apart[at, high] and not apart[at, low]]
        best = [at for at in reversed(order) if apart[at, low] and not apart[at, high]]
        width = sum((cells[at].high or 0.0) - (cells[at].low or 0.0) for at in (low, high))
        gap = 1 + abs((cells[low].mean or 0.0) - (cells[high].mean or 0.0)) / max(width, 1e-9)
    first = cells[0]
    return gap, Judged(
        language=first.language,
        measure=first.measure,
        side=fear.side,
        of=fear.of,
        worst=tuple(cells[at].teacher for at in worst),
        best=tuple(cells[at].teacher for at in best),
        teachers=tuple(cells[at] for at in order),
        too_few=tuple(item.teacher for item in cells if item.prompts < FEWEST_PROMPTS),
    )


def _listed(parts: Sequence[str]) -> str:
    """Some things as a sentence lists them.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

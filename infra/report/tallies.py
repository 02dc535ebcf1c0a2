"""What is known of a run's prompts without keeping them: by language and teacher, and by language.

A tally keeps prompts while they are few enough for a bootstrap, and sums over them from then on, so
a run's profile takes the memory of its languages, teachers and measures, whatever its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from arbitrage.infra.report.cells import Cell, Chosen, batches_of
from arbitrage.infra.report.feared import fear_of
from arbitrage.infra.report.ratios import Numbers, Ratios, Values
from arbitrage.intervals import BOOTSTRAPPED


class Tally:
    """Sums over the prompts of one group; the prompts themselves while they are few.

    Attributes:
        ratios: sums of the columns over all prompts.
    """

    def __init__(self, columns: int) -> None:
        self.ratios = Ratios(columns)
        self._ids: list[pl.Series] = []
        self._rows: list[tuple[Values, Values]] = []

    def add(self, ids: pl.Series, sums: Values, counts: Values) -> None:
        """Add prompts that were not added before."""
        self.ratios.add(sums, counts)
        if self.is_few:
            self._ids.append(ids)
            self._rows.append((sums.copy(), counts.copy()))
        else:
            self._ids, self._rows = [], []

    @property
    def is_few(self) -> bool:
        """Whether intervals are those of a bootstrap."""
        return self.ratios.prompts <= BOOTSTRAPPED

    @property
    def few(self) -> tuple[Values, Values]:
        """Sums and counts of each prompt, in the order of their ids, where they are few."""
        ids = [one for some in self._ids for one in some.to_list()]
        order = sorted(range(len(ids)), key=ids.__getitem__)
        sums, counts = (np.concatenate(parts) for parts in zip(*self._rows, strict=True))
        return sums[order], counts[order]


@dataclass(slots=True)
class Answers:
    """The answers of one teacher in one language.

    Attributes:
        tally: over its prompts; a column a name.
        answers: how many.
        most: of one prompt.
        binary: bool [names], whether a measure had no values but 0 and 1.
    """

    tally: Tally
    binary: np.ndarray
    answers: int = 0
    most: int = 0

    def add(self, cell: Cell) -> None:
        self.tally.add(cell.ids, cell.sums, cell.counts)
        self.binary &= cell.binary
        self.answers += int(cell.answers.sum())
        self.most = max(self.most, int(cell.answers.max()))


@dataclass(slots=True)
class Together:
    """The answers of all teachers in one language, prompt by prompt, for measures with a bad side.

    Attributes:
        ratios: a column a teacher and measure, teachers in the order in which they were met.
    """

    measures: int
    ratios: Ratios = field(default_factory=Ratios)
    teachers: dict[str, int] = field(default_factory=dict)

    def add(self, cells: Sequence[Cell], measures: Sequence[int], prompts: int) -> None:
        """Add the prompts of a batch; `measures`: which columns of its cells."""
        for cell in cells:
            if cell.teacher not in self.teachers:
                self.teachers[cell.teacher] = len(self.teachers)
                self.ratios.widen(self.measures)
        shape = (prompts, len(self.teachers), self.measures)
        sums, counts = np.zeros(shape), np.zeros(shape)
        for cell in cells:
            at = self.teachers[cell.teacher]
            sums[cell.places, at] = np.nan_to_num(cell.sums[:, measures])
            counts[cell.places, at] = cell.counts[:, measures]
        self.ratios.add(sums.reshape(prompts, -1), counts.reshape(prompts, -1))

    def columns(self, measures: Sequence[int], teachers: Sequence[str]) -> Numbers:
        """int64 [measures, teachers]: where each is among the columns of `ratios`."""
        starts = np.array([self.teachers[name] * self.measures for name in teachers])
        columns: Numbers = np.asarray(measures, np.int64)[:, None] + starts[None, :]
        return columns


@dataclass(slots=True)
class Tallies:
    """A run's tallies.

    Attributes:
        measures: its scores; names: of the columns of `answers`.
        feared: of `together`'s columns, those of `names` that have a bad side.
        answers: (language, teacher) -> its answers; together, chosen: by language.
    """

    measures: Sequence[str] = ()
    names: Sequence[str] = ()
    feared: Sequence[str] = ()
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    together: dict[str, Together] = field(default_factory=dict)
    chosen: dict[str, Tally] = field(default_factory=dict)

    def add(self, cells: Sequence[Cell], chosen: Sequence[Chosen]) -> None:
        """Add a batch of shards: its cells in the order of languages, and its languages."""
        where = [self.names.index(name) for name in self.feared]
        by_language: dict[str, list[Cell]] = {}
        for cell in cells:
            by_language.setdefault(cell.language, []).append(cell)
            key = (cell.language, cell.teacher)
            if key not in self.answers:
                columns = len(self.names)
                self.answers[key] = Answers(Tally(columns), np.ones(columns, np.bool_))
            self.answers[key].add(cell)
        for item in chosen:
            if item.language not in self.chosen:
                self.chosen[item.language] = Tally(2 * len(self.measures))
                self.together[item.language] = Together(len(where))
            self.chosen[item.language].add(item.ids, item.sums, item.counts)
            own = by_language[item.language]
            self.together[item.language].add(own, where, len(item.ids))


def tallies(run: Path, by: str = "teacher") -> Tallies:
    """The tallies of a run folder, some shards in memory at a time; `by` as in `batches_of`."""
    found = Tallies()
    for batch in batches_of(run, by):
        if not found.names:
            found.measures, found.names = batch.measures, batch.names
            found.feared = [name for name in batch.names if fear_of(name)]
        found.add(batch.cells, batch.chosen)
    return found

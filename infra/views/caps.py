"""Caps over a whole run: which pairs stay so that no language or teacher has too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from arbitrage.infra.views.pairing import PairParams, Pairs
from arbitrage.infra.views.shard import Hashes, Mask, Rows, codes_of

Cell = tuple[str, str]
"""A language and the teacher that is chosen there."""


@dataclass(frozen=True, slots=True)
class PairSurvey:
    """One shard's pairs as caps see them: 24 bytes a pair."""

    cells: tuple[Cell, ...]
    cell: Rows
    priority: Hashes
    texts: Hashes


@dataclass(frozen=True, slots=True)
class Caps:
    """Which pairs of a run stay: a cell's pairs whose priority is below its limit.

    Attributes:
        limits: by cell, the lowest priority that does not stay; None = all stay.
        repeats: sorted priorities of the pairs that read as another of lower priority does.
        dropped: pairs that went, by rule and language.
    """

    limits: Mapping[Cell, int | None] = field(default_factory=dict)
    repeats: Hashes = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def stay(self, candidates: pa.Table, pairs: Pairs) -> Mask:
        """bool [pairs of one shard]."""
        seen = survey_pairs(candidates, pairs)
        stays = ~np.isin(seen.priority, self.repeats)
        for number, cell in enumerate(seen.cells):
            limit = self.limits.get(cell)
            if limit is not None:
                stays &= (seen.cell != number) | (seen.priority < np.uint64(limit))
        return stays


def survey_pairs(candidates: pa.Table, pairs: Pairs) -> PairSurvey:
    """What caps have to know of one shard's pairs."""
    chosen = candidates.select(["language", "teacher"]).take(pa.array(pairs.chosen))
    languages, language_names = codes_of(chosen["language"])
    teachers, teacher_names = codes_of(chosen["teacher"])
    together = languages * max(1, len(teacher_names)) + teachers
    found, cell = np.unique(together, return_inverse=True)
    places = (divmod(int(code), len(teacher_names)) for code in found)
    cells = tuple((language_names[at], teacher_names[by]) for at, by in places)
    return PairSurvey(cells, cell.astype(np.int64), pairs.priority, pairs.texts)


def settle_caps(surveys: Iterable[PairSurvey], params: PairParams) -> Caps:
    """Caps that hold over all shards, the same in whatever order the shards come.

    First repeats go, then each language is cut to the greatest number of pairs for which every
    teacher's share of the chosen is at most `max_teacher_share` and which is at most
    `max_per_language`. Which pairs stay is drawn by hash, so that neither margin nor length nor
    shard decides.
    """
    kept = list(surveys)
    names = sorted({cell for part in kept for cell in part.cells})
    number = {cell: at for at, cell in enumerate(names)}
    cell = np.concatenate(
        [np.empty(0, np.int64)]
        + [np.array([number[c] for c in part.cells], np.int64)[part.cell] for part in kept]
    )
    nothing = np.empty(0, dtype=np.uint64)
    priority = np.concatenate([nothing, *(part.priority for part in kept)])
    repeated = np.zeros(len(cell), dtype=np.bool_)
    if params.dedup:
        texts = np.concatenate([nothing, *(part.texts for part in kept)])
        order = np.lexsort((priority, texts))
        repeated[order[1:]] = np.diff(texts[order]) == 0
    dropped: Counter[tuple[str, str]] = Counter(
        ("dedup", names[at][0]) for at in cell[repeated].tolist()
    )
    limits: dict[Cell, int | None] = {}
    for language in sorted({language for language, _ in names}):
        mine = {number[c]: c for c in names if c[0] == language}
        queues = {c: np.sort(priority[(cell == at) & ~repeated]) for at, c in mine.items()}
        before = sum(map(len, queues.values()))
        shares = _shares(queues, params)
        limits |= _limits(queues, shares, params.max_per_language)
        stay = sum(
            len(queue) if (limit := limits[c]) is None else int(np.searchsorted(queue, limit))
            for c, queue in queues.items()
        )
        fair = min(before, sum(shares.values()))
        dropped["max_teacher_share", language] = before - fair
        dropped["max_per_language", language] = fair - stay
    return Caps(limits, np.sort(priority[repeated]), _nested(dropped))


def _shares(queues: Mapping[Cell, Hashes], params: PairParams) -> dict[Cell, int]:
    """How many of each cell's pairs may stay: each at most its share of the language's total.

    The total falls from all pairs to the greatest that its own shares can fill.
    """
    counts = {cell: len(queue) for cell, queue in queues.items()}
    share = params.max_teacher_share
    if share is None:
        return counts
    total = min(sum(counts.values()), params.max_per_language or sum(counts.values()))
    while True:
        allowed = {cell: min(count, int(share * total)) for cell, count in counts.items()}
        if sum(allowed.values()) >= total:
            return allowed
        total = sum(allowed.values())


def _limits(
    queues: Mapping[Cell, Hashes], shares: Mapping[Cell, int], most: int | None
) -> dict[Cell, int | None]:
    """The priority below which each cell's pairs stay."""
    firsts = np.sort(np.concatenate([queue[: shares[cell]] for cell, queue in queues.items()]))
    bound = int(firsts[most]) if most is not None and len(firsts) > most else None
    limits: dict[Cell, int | None] = {}
    for cell, queue in queues.items():
        own = int(queue[shares[cell]]) if len(queue) > shares[cell] else None
        known = [limit for limit in (own, bound) if limit is not None]
        limits[cell] = min(known) if known else None
    return limits


def _nested(dropped: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Counts above 0 by rule, then language."""
    table: dict[str, dict[str, int]] = {}
    for (rule, language), count in sorted(dropped.items()):
        if count:
            table.setdefault(rule, {})[language] = count
    return table

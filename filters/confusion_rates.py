"""Line and word pass rates by teacher, source and language, from stored scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.errors import FilterError
from arbitrage.filters.language_confusion import WORD_LANGUAGES
from arbitrage.filters.scoring import score_array
from arbitrage.intervals import percentile_interval, resampled_sums
from arbitrage.languages import base_language

ALL = "all"

# Of a completion: not judged, a wrong line, right lines (words not judged), an English word, none.
_SKIPPED, _WRONG_LINE, _RIGHT_LINES, _ENGLISH_WORD, _CLEAN = range(5)

# float64 [replicates + 1]: the rate itself, then its bootstrap replicates.
_Replicates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate from 0 to 1 with its 95 % bootstrap interval; NaN where nothing could be scored."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ConfusionRates:
    """Language confusion of one teacher in one source and language, either of which may be "all".

    Attributes:
        completions: how many there are.
        scored: how many have at least one judged line; LPR is of these.
        lpr: share of scored completions without a wrong line.
        wpr: share of those without a wrong line that have no English word.
        lcpr: harmonic mean of the two, 0 where both are 0.
    """

    teacher: str
    source: str
    language: str
    completions: int
    scored: int
    lpr: Rate
    wpr: Rate
    lcpr: Rate


def confusion_rates(
    scored: pa.Table,
    sources: Mapping[str, str] | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    of_nothing: float | None = None,
    word_languages: Sequence[str] = WORD_LANGUAGES,
) -> list[ConfusionRates]:
    """LPR, WPR and LCPR of every (teacher, source, language), and their averages.

    Averages are the authors': the mean over sources of a language, over languages of a source, and
    over the languages' averages in all; rates that are not there are left out. LCPR of an average
    is the harmonic mean of the average LPR and WPR, also where WPR is of fewer languages.

    Args:
        scored: columns `teacher`, `language`, `prompt_id` and the measures of `language_confusion`.
        sources: prompt_id -> source; None puts every prompt into the source "".
        replicates: of the bootstrap, which draws prompts with all their samples. An interval around
            a rate of exactly 0 or 1 has no width: where n of n pass, up to 3 / n may well fail.
        of_nothing: the rate where nothing can be scored; the authors' program gives 1.
        word_languages: as the filter had them; elsewhere there is no WPR.

    Returns:
        Rows sorted by teacher, source and language, "all" last.

    Raises FilterError for a missing score column and for a prompt without a source.

    Source: Marchisio et al. 2024 (arXiv 2406.20052) and the authors' program. Not implemented:
    their line accuracy, which they compute and do not print.
    """
    outcomes = _outcomes(scored)
    ids = scored.column("prompt_id").to_pylist()
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, (teacher, language, prompt) in enumerate(
        zip(
            scored.column("teacher").to_pylist(),
            scored.column("language").to_pylist(),
            ids,
            strict=True,
        )
    ):
        source = "" if sources is None else sources.get(prompt)
        if source is None:
            raise FilterError(
                f'the prompt "{prompt}" has no source.', mend="Give the sources of all prompts."
            )
        groups.setdefault((teacher, source, language), []).append(row)
    random = np.random.default_rng(seed)
    cells: dict[tuple[str, str, str], _Cell] = {}
    for key in sorted(groups):
        chosen = groups[key]
        counts = _counts(outcomes[chosen], [ids[row] for row in chosen], replicates, random)
        worded = base_language(key[2]) in word_languages
        cells[key] = _cell(counts, len(chosen), of_nothing, worded=worded)
    rows: list[ConfusionRates] = []
    for teacher in sorted({key[0] for key in cells}):
        own = {key[1:]: cell for key, cell in cells.items() if key[0] == teacher}
        averaged = own | _averages(own)
        order = sorted(averaged, key=lambda key: [(part == ALL, part) for part in key])
        rows += [averaged[key].row(teacher, *key) for key in order]
    return rows


@dataclass(frozen=True, slots=True)
class _Cell:
    completions: int
    scored: int
    lpr: _Replicates
    wpr: _Replicates

    def row(self, teacher: str, source: str, language: str) -> ConfusionRates:
        total = self.lpr + self.wpr
        lcpr = np.divide(2 * self.lpr * self.wpr, total, out=total.copy(), where=total != 0)
        rates = (_rate(self.lpr), _rate(self.wpr), _rate(lcpr))
        return ConfusionRates(teacher, source, language, self.completions, self.scored, *rates)


def _outcomes(scored: pa.Table) -> NDArray[np.int64]:
    lines, wrong, word = (
        score_array(scored, f"language_confusion.{name}")
        for name in ("lines", "wrong_lines", "word_pass")
    )
    outcomes = np.full(scored.num_rows, _SKIPPED)
    judged = lines > 0
    outcomes[judged & (wrong > 0)] = _WRONG_LINE
    right = judged & (wrong == 0)
    outcomes[right & np.isnan(word)] = _RIGHT_LINES
    outcomes[right & (word == 0)] = _ENGLISH_WORD
    outcomes[right & (word == 1)] = _CLEAN
    return outcomes


def _counts(
    outcomes: NDArray[np.int64],
    prompts: Sequence[str],
    replicates: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """How often each outcome comes in a group, then in its replicates: int64 [replicates + 1, 5].

    A replicate draws prompts, each with all its samples."""
    numbers: dict[str, int] = {}
    owners = np.array([numbers.setdefault(prompt, len(numbers)) for prompt in prompts])
    of_prompt = np.zeros((len(numbers), 5), dtype=np.int64)
    np.add.at(of_prompt, (owners, outcomes), 1)
    kinds, often = np.unique(of_prompt, axis=0, return_counts=True)
    drawn = resampled_sums(kinds, often, replicates, random)
    return np.vstack([often @ kinds, drawn.astype(np.int64)])


def _cell(
    counts: NDArray[np.int64], completions: int, of_nothing: float | None, *, worded: bool
) -> _Cell:
    skipped, wrong, right, english, clean = counts.T
    passing = right + english + clean
    lpr = _share(passing, passing + wrong, of_nothing)
    # Without word languages there is no rate, which is not a rate of nothing.
    wpr = _share(clean, english + clean, of_nothing if worded else None)
    return _Cell(completions, completions - int(skipped[0]), lpr, wpr)


def _share(
    part: NDArray[np.int64], whole: NDArray[np.int64], of_nothing: float | None
) -> _Replicates:
    nothing = np.full(len(part), np.nan if of_nothing is None else of_nothing)
    shares: _Replicates = np.divide(part, whole, out=nothing, where=whole > 0)
    return shares


def _averages(cells: Mapping[tuple[str, str], _Cell]) -> dict[tuple[str, str], _Cell]:
    sources = sorted({source for source, _ in cells})
    languages = sorted({language for _, language in cells})
    by_source = {
        (source, ALL): _mean([cell for key, cell in cells.items() if key[0] == source])
        for source in sources
    }
    by_language = {
        (ALL, language): _mean([cell for key, cell in cells.items() if key[1] == language])
        for language in languages
    }
    return {**by_source, **by_language, (ALL, ALL): _mean(by_language.values())}


def _mean(cells: Iterable[_Cell]) -> _Cell:
    cells = list(cells)
    return _Cell(
        sum(cell.completions for cell in cells),
        sum(cell.scored for cell in cells),
        _mean_of([cell.lpr for cell in cells]),
        _mean_of([cell.wpr for cell in cells]),
    )


def _mean_of(rates: Sequence[_Replicates]) -> _Replicates:
    """Means over those that are there, replicate by replicate; NaN where none is."""
    stacked = np.stack(rates)
    there = ~np.isnan(stacked)
    sums = np.where(there, stacked, 0).sum(axis=0)
    nothing = np.full(len(sums), np.nan)
    means: _Replicates = np.divide(sums, there.sum(axis=0), out=nothing, where=there.any(axis=0))
    return means


def _rate(replicates: _Replicates) -> Rate:
    value = float(replicates[0])
    if np.isnan(value):
        return Rate(value, np.nan, np.nan)
    return Rate(value, *percentile_interval(replicates[1:]))

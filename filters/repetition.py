"""How much of a completion repeats itself: lines, paragraphs and runs of words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register

# Rae et al. 2021, arXiv 2112.11446, table A1: a document over any of these is removed.
GOPHER = {
    "duplicate_lines": 0.30,
    "duplicate_paragraphs": 0.30,
    "duplicate_line_characters": 0.20,
    "duplicate_paragraph_characters": 0.20,
    "top_2_gram": 0.20,
    "top_3_gram": 0.18,
    "top_4_gram": 0.16,
    "duplicate_5_grams": 0.15,
    "duplicate_6_grams": 0.14,
    "duplicate_7_grams": 0.13,
    "duplicate_8_grams": 0.12,
    "duplicate_9_grams": 0.11,
    "duplicate_10_grams": 0.10,
}
_LONGEST, _TOP = 10, 4
_PARAGRAPHS = re.compile(r"\n\s*\n")


def duplicates(parts: Sequence[str]) -> tuple[float, float]:
    """Share of parts that came before, by number and by characters; 0 for no parts.

    >>> duplicates(["yes", "no", "yes", "yes"])
    (0.5, 0.5454545454545454)
    """
    total = sum(map(len, parts))
    distinct = set(parts)
    if not total:
        return 0.0, 0.0
    return 1 - len(distinct) / len(parts), 1 - sum(map(len, distinct)) / total


def repeated_runs(tokens: Sequence[str]) -> Iterator[tuple[int, list[list[int]]]]:
    """For n of 2 to 10: n, and the places of each n-gram that comes more than once, in order.

    An n-gram comes twice only where its first n - 1 words do, so only those places are looked at.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for position, token in enumerate(tokens):
        places[token].append(position)
    runs = [found for found in places.values() if len(found) > 1]
    for size in range(2, _LONGEST + 1):
        longer: list[list[int]] = []
        for found in runs:
            by_next: defaultdict[str, list[int]] = defaultdict(list)
            for position in found:
                if position + size <= len(tokens):
                    by_next[tokens[position + size - 1]].append(position)
            longer += [group for group in by_next.values() if len(group) > 1]
        runs = longer
        yield size, runs


def covered(starts: Sequence[int], size: int, offsets: Sequence[int]) -> int:
    """Characters of the words in runs of `size` words, none counted twice.

    Args:
        starts: first words of the runs, ascending.
        offsets: characters before each word, and after the last.

    >>> covered([0, 1, 5], 2, [0, 1, 3, 6, 7, 9, 10, 11])
    8
    """
    total, reached = 0, 0
    for start in starts:
        first, reached = max(start, reached), start + size
        total += offsets[reached] - offsets[first]
    return total


def run_shares(tokens: Sequence[str]) -> dict[str, float]:
    """The shares of characters in repeated n-grams, by measure.

    >>> round(run_shares("a b c d e f a b c d e".split())["top_2_gram"], 2)
    0.36
    """
    offsets = np.concatenate([[0], np.cumsum([len(token) for token in tokens])]).tolist()
    total = offsets[-1]
    shares: dict[str, float] = {}
    for size, runs in repeated_runs(tokens):
        if size <= _TOP:
            most = max(map(len, runs), default=0)
            best = max((covered(r, size, offsets) for r in runs if len(r) == most), default=0)
            shares[f"top_{size}_gram"] = best / total
        else:
            again = sorted(position for found in runs for position in found[1:])
            shares[f"duplicate_{size}_grams"] = covered(again, size, offsets) / total
    return shares


def _share(name: str) -> float | None:
    limit = f"Most of {name.replace('_', ' ')}; Gopher: {GOPHER[name]:.2f}."
    found: float | None = Field(None, ge=0, le=1, description=limit)
    return found


class RepetitionParams(FilterParams):
    """From how many words on to measure runs of words, and the thresholds."""

    shortest_words: int = Field(50, ge=1, description="n-grams abstain on texts of fewer words.")
    limits: Literal["gopher"] | None = Field(
        None, description="gopher: its thresholds wherever a max_ is not given."
    )
    max_duplicate_lines: float | None = _share("duplicate_lines")
    max_duplicate_line_characters: float | None = _share("duplicate_line_characters")
    max_duplicate_paragraphs: float | None = _share("duplicate_paragraphs")
    max_duplicate_paragraph_characters: float | None = _share("duplicate_paragraph_characters")
    max_top_2_gram: float | None = _share("top_2_gram")
    max_top_3_gram: float | None = _share("top_3_gram")
    max_top_4_gram: float | None = _share("top_4_gram")
    max_duplicate_5_grams: float | None = _share("duplicate_5_grams")
    max_duplicate_6_grams: float | None = _share("duplicate_6_grams")
    max_duplicate_7_grams: float | None = _share("duplicate_7_grams")
    max_duplicate_8_grams: float | None = _share("duplicate_8_grams")
    max_duplicate_9_grams: float | None = _share("duplicate_9_grams")
    max_duplicate_10_grams: float | None = _share("duplicate_10_grams")

    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set, and Gopher's for the others where those are asked for."""
        gopher = GOPHER if self.limits == "gopher" else {}
        return {f"max_{name}": limit for name, limit in gopher.items()} | super().thresholds()

    @classmethod
    def deciding_fields(cls) -> frozenset[str]:
        """Fields that change decisions only."""
        return super().deciding_fields() | {"limits"}


@register("repetition", version=1)
class Repetition(Filter):
    """Measures how much of each text are repeated lines, paragraphs and n-grams.

    Source: Rae et al. 2021, Gopher (arXiv 2112.11446), table A1. `limits = "gopher"` sets its
        thresholds: 0.30 of lines and of paragraphs, 0.20 of their characters; 0.20, 0.18, 0.16 for
        the top 2-, 3- and 4-gram; 0.15 falling by 0.01 to 0.10 for duplicate 5- to 10-grams. Where
        the paper leaves it open: the first time does not count as duplicate (as in datatrove), and
        characters are those of the words, without spaces and punctuation.
    Reads: texts; languages, only for the rule that lowers I.
    Writes: `repetition.duplicate_lines`, `repetition.duplicate_line_characters`,
        `repetition.duplicate_paragraphs`, `repetition.duplicate_paragraph_characters`,
        `repetition.top_2_gram`, `repetition.top_3_gram`, `repetition.top_4_gram`,
        `repetition.duplicate_5_grams`, `repetition.duplicate_6_grams`,
        `repetition.duplicate_7_grams`, `repetition.duplicate_8_grams`,
        `repetition.duplicate_9_grams` and `repetition.duplicate_10_grams`, float32 [n].
    Score: shares, 0 to 1, higher is more repeated. Lines and paragraphs (between empty lines) are
        compared stripped, empty ones left out. top_n_gram is the share of characters in all places
        of the n-gram that comes most often, 0 where none comes twice; duplicate_n_grams that in
        n-grams that came before; no character counts twice.
    Rejects: repeated_lines, repeated_paragraphs, repeated_words (the n-grams).
    Abstains: lines and paragraphs on texts without any; n-grams on texts of fewer than
        `shortest_words` words, for Gopher's thresholds were made for documents of 50 and more.
    Cost: about 3 MB of text a second on one core, half of it finding the words.
    Blind spots: tables, code, verse and refrains repeat by nature. The thresholds come from English
        web pages; words of languages without spaces are found by dictionary, and inflected ones
        repeat less. With them 56 % of the recorded answers of a base model are rejected, and 1.7 to
        11 % of those of five instruction-tuned ones, some for four words that come twice in 60.

    >>> from arbitrage.filters.base import Batch
    >>> batch = Batch(["Sure!\\nYes.\\nYes.\\nYes.", ""], ["en", "en"], [None, None])
    >>> scores = Repetition(RepetitionParams()).score(batch)
    >>> scores.measures["duplicate_lines"].tolist()
    [0.5, nan]
    """

    Params = RepetitionParams
    measures = tuple(name[4:] for name in RepetitionParams.model_fields if name.startswith("max_"))
    causes: ClassVar[Mapping[str, str]] = {
        f"max_{name}": "repeated_lines"
        if "line" in name
        else "repeated_paragraphs"
        if "paragraph" in name
        else "repeated_words"
        for name in GOPHER
    }
    fears: ClassVar[Mapping[str, Fear]] = {
        "duplicate_lines": Fear("high", "repeated lines"),
        "duplicate_5_grams": Fear("high", "repeated phrases"),
    }

    def score(self, batch: Batch) -> Scores:
        measures = {
            name: np.full(len(batch), np.nan, dtype=np.float32) for name in type(self).measures
        }
        for index, (text, tokens) in enumerate(zip(batch.texts, batch.words, strict=True)):
            lines = [line for line in map(str.strip, text.splitlines()) if line]
            if not lines:
                continue
            paragraphs = [part for part in map(str.strip, _PARAGRAPHS.split(text)) if part]
            shares = dict(
                zip(
                    ("duplicate_lines", "duplicate_line_characters"), duplicates(lines), strict=True
                )
            )
            number, characters = duplicates(paragraphs)
            shares["duplicate_paragraphs"] = number
            shares["duplicate_paragraph_characters"] = characters
            if len(tokens) >= self.params.shortest_words:
                shares |= run_shares(tokens)
            for name, share in shares.items():
                measures[name][index] = share
        return Scores(measures)

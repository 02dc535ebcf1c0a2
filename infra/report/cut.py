"""What a page has room for: a phone opens it, whatever the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from arbitrage.infra.report.counts import Counts
from arbitrage.infra.report.profile import Profile
from arbitrage.infra.report.table import ALL, Row

# A run of more has them all in manifest.json and in what `arbitrage profile` prints.
MOST_LANGUAGES, MOST_TEACHERS, MOST_MEASURES, MOST_LINES = 40, 12, 30, 200
_ELSEWHERE = "manifest.json and `arbitrage profile` have the others"

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Cut:
    """The languages and teachers with the most requests, as many as a page has room for.

    Attributes:
        languages, teachers: what is shown.
        of_languages, of_teachers: how many there are.
    """

    languages: frozenset[str]
    teachers: frozenset[str]
    of_languages: int
    of_teachers: int

    @classmethod
    def of(cls, counts: Counts) -> Cut:
        languages: dict[str, int] = {}
        teachers: dict[str, int] = {}
        for (language, teacher), cell in counts.cells.items():
            languages[language] = languages.get(language, 0) + cell.requested
            teachers[teacher] = teachers.get(teacher, 0) + cell.requested
        return cls(
            frozenset(_most(languages, MOST_LANGUAGES)),
            frozenset(_most(teachers, MOST_TEACHERS)),
            len(languages),
            len(teachers),
        )

    @property
    def said(self) -> str:
        """What is left out, in a sentence; empty where nothing is.

        >>> Cut(frozenset("ab"), frozenset("c"), 70, 1).said[:49]
        'Shown are the 2 languages of 70 with the most req'
        """
        parts = [
            f"the {len(some)} {what} of {all_of} with the most requests"
            for some, what, all_of in (
                (self.languages, "languages", self.of_languages),
                (self.teachers, "teachers", self.of_teachers),
            )
            if len(some) < all_of
        ]
        return f"Shown are {' and '.join(parts)}; {_ELSEWHERE}." if parts else ""

    def rows(self, rows: Iterable[Row]) -> list[Row]:
        """Of the table, the lines of what is shown, and the total of all."""
        languages, teachers = {*self.languages, ALL}, {*self.teachers, ALL}
        return [row for row in rows if row.language in languages and row.teacher in teachers]

    def profile(self, profile: Profile) -> Profile:
        """Of a profile, what is shown, and at most MOST_MEASURES measures."""
        measures = set(profile.measures[:MOST_MEASURES])
        return replace(
            profile,
            attributes=[
                item
                for item in profile.attributes
                if item.language in self.languages
                and item.teacher in self.teachers
                and item.measure in measures
            ],
            shifts=[
                item
                for item in profile.shifts
                if item.language in self.languages and item.measure in measures
            ],
            judged=[item for item in profile.judged if item.language in self.languages],
        )


def first(items: Sequence[ItemT]) -> tuple[Sequence[ItemT], str]:
    """As many lines as a table has room for, and a sentence on the others.

    >>> first("abc")
    ('abc', '')
    >>> first(range(1234))[1]
    'And 1,034 more, which are in manifest.json.'
    """
    rest = len(items) - MOST_LINES
    if rest <= 0:
        return items, ""
    return items[:MOST_LINES], f"And {rest:,} more, which are in manifest.json."


def _most(counts: dict[str, int], room: int) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))[:room]

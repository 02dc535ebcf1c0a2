"""The profile of a run as tables: measure by language and teacher, and what choosing changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arbitrage.infra.report.escaping import prose
from arbitrage.infra.report.fears import Judged, judged, sentence
from arbitrage.infra.report.figures import figures
from arbitrage.infra.report.inheritance import Attribute, Shift, attributes_of, shifts_of
from arbitrage.infra.report.table import code
from arbitrage.infra.report.tallies import tallies


@dataclass(frozen=True, slots=True)
class Dumbbell:
    """One line of the plot of a measure's shifts, places in per cent of its width."""

    shift: Shift
    every: float
    chosen: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What every teacher's answers are like, whom to fear for what, and how the chosen ones differ.

    `by` is "teacher", or "source": then the prompts' sources stand in the teachers' place.
    """

    attributes: Sequence[Attribute]
    shifts: Sequence[Shift]
    by: str = "teacher"
    judged: Sequence[Judged] = ()

    @classmethod
    def of(cls, run: Path, by: str = "teacher") -> Profile:
        """Computed from the candidates of a run folder."""
        known = tallies(run, by)
        found = attributes_of(known)
        return cls(found, shifts_of(known), by, judged(known, found))

    @property
    def measures(self) -> list[str]:
        return list(dict.fromkeys(item.measure for item in self.attributes))

    @property
    def languages(self) -> list[str]:
        return sorted({item.language for item in self.attributes})

    @property
    def teachers(self) -> list[str]:
        return sorted({item.teacher for item in self.attributes})

    def cells(self, measure: str) -> Mapping[tuple[str, str], Attribute]:
        """(language, teacher) -> the measure there."""
        found = (item for item in self.attributes if item.measure == measure)
        return {(item.language, item.teacher): item for item in found}

    def judged_in(self, language: str) -> list[Judged]:
        """What has a bad side, in one language."""
        return [item for item in self.judged if item.language == language]

    def sentence(self, language: str) -> str:
        """Whom to fear for what in a language."""
        return sentence(self.judged_in(language))

    def plot(self, measure: str) -> list[Dumbbell]:
        """The measure's shifts by language on one scale; those with both sides measured."""
        known = [
            (item, item.every, item.chosen)
            for item in self.shifts
            if item.measure == measure and item.every is not None and item.chosen is not None
        ]
        values = [value for _, *sides in known for value in sides]
        low, span = min(values, default=0.0), max(values, default=0.0) - min(values, default=0.0)

        def place(value: float) -> float:
            return 100 * (value - low) / span if span else 50.0

        return [Dumbbell(item, place(every), place(chosen)) for item, every, chosen in known]

    def to_json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "attributes": [asdict(item) for item in self.attributes],
            "shifts": [asdict(item) for item in self.shifts],
            "sentences": {language: self.sentence(language) for language in self.languages},
            "judged": [_without_figures(item) for item in self.judged],
        }


def _without_figures(item: Judged) -> dict[str, Any]:
    """A judged attribute with its teachers' names, whose figures stand in the attributes."""
    return asdict(item) | {"teachers": [place.teacher for place in item.teachers]}


def interval(mean: float | None, low: float | None, high: float | None) -> str:
    """A mean with its interval.

    >>> interval(0.8, 0.4902, 0.9433), interval(2.0, None, None), interval(None, None, None)
    ('0.8 (0.49 to 0.94)', '2', '–')
    """
    if low is None or high is None:
        return figures(mean)
    return f"{figures(mean)} ({figures(low, 2)} to {figures(high, 2)})"


def markdown_profile(profile: Profile) -> str:
    """Whom to fear, a line a language; then a table a measure, languages down, teachers across."""
    lines = [f"- {prose(tag)}: {prose(profile.sentence(tag))}" for tag in profile.languages]
    lines += [line for measure in profile.measures for line in _section(profile, measure)]
    return "\n".join(lines)


def _section(profile: Profile, measure: str) -> Iterator[str]:
    cells, teachers = profile.cells(measure), profile.teachers
    yield f"\n## {code(measure)}\n"
    yield f"| language | {' | '.join(map(code, teachers))} | all | chosen | difference |"
    yield f"|---|{'---|' * (len(teachers) + 3)}"
    moved = {item.language: item for item in profile.shifts if item.measure == measure}
    for language in profile.languages:
        found = (cells.get((language, teacher)) for teacher in teachers)
        texts = [interval(item.mean, item.low, item.high) if item else "" for item in found]
        shift = moved.get(language)
        if shift is None:
            texts += [""] * 3
        else:
            texts += [figures(shift.every), figures(shift.chosen)]
            texts.append(interval(shift.difference, shift.low, shift.high))
        yield f"| {code(language)} | {' | '.join(texts)} |"

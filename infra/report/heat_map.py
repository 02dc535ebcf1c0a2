"""Where prompts were sent: language x teacher, darker to lighter, with the share in each cell."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from arbitrage.infra.report.palette import cividis, ink_on
from arbitrage.infra.report.svg import INK, LINE, SOFT, box, drawing, words

Draws = Mapping[str, Mapping[str, int]]

# As large as it gets: some 100 kB of text, whatever the run.
MOST_LANGUAGES, MOST_TEACHERS = 60, 12
_CELL, _ROW, _LABEL, _SUM = 64, 24, 62, 46
_LETTERS, _LINES = 10, 3


def heat_map(draws: Draws) -> str:
    """The heat map as SVG; empty where nothing was drawn.

    Args:
        draws: language -> teacher -> how often the router drew it there. A cell's share is of its
            language's draws, so a row adds up to 100 %, less what is left out.
    """
    languages, teachers = shown_languages(draws), _teachers(draws)[:MOST_TEACHERS]
    if not teachers:
        return ""
    top = 14 * max(len(_lines(name)) for name in teachers) + 6
    width = _LABEL + _CELL * len(teachers) + _SUM
    rows = [(language, draws[language]) for language in languages]
    if len(draws) > 1:
        rows.append(("all", _together(draws)))
    height = top + _ROW * len(rows) + 6
    parts = [*_header(teachers, top)]
    for place, (language, drawn) in enumerate(rows):
        parts += _row(
            language, drawn, teachers, top + place * _ROW + (6 if language == "all" else 0)
        )
    return drawing(width, height, parts, "Share of each language's draws, by teacher")


def left_out(draws: Draws) -> str:
    """What the heat map has no room for, in a sentence; empty where it shows all.

    >>> left_out({"tr": {"alpha": 1}})
    ''
    """
    said = []
    if len(draws) > MOST_LANGUAGES:
        said.append(f"the {MOST_LANGUAGES} languages of {len(draws)} with the most draws")
    teachers = len(_teachers(draws))
    if teachers > MOST_TEACHERS:
        said.append(f"the {MOST_TEACHERS} teachers of {teachers} drawn most")
    return f"Shown are {' and '.join(said)}." if said else ""


def shown_languages(draws: Draws) -> list[str]:
    """Those with the most draws, in the order of their tags."""
    ranked = sorted(draws, key=lambda language: (-sum(draws[language].values()), language))
    return sorted(ranked[:MOST_LANGUAGES])


def _teachers(draws: Draws) -> list[str]:
    """By how often they were drawn."""
    total = _together(draws)
    return sorted(total, key=lambda name: (-total[name], name))


def _together(draws: Draws) -> dict[str, int]:
    total: dict[str, int] = {}
    for drawn in draws.values():
        for teacher, count in drawn.items():
            total[teacher] = total.get(teacher, 0) + count
    return total


def _header(teachers: Sequence[str], top: float) -> Iterator[str]:
    for place, name in enumerate(teachers):
        lines = _lines(name)
        for number, line in enumerate(lines):
            y = top - 8 - 14 * (len(lines) - 1 - number)
            yield words(_LABEL + _CELL * (place + 0.5), y, line, anchor="middle", fill=SOFT)
    right = _LABEL + _CELL * len(teachers) + _SUM
    yield words(right, top - 8, "draws", anchor="end", fill=SOFT)


def _row(
    language: str, drawn: Mapping[str, int], teachers: Sequence[str], y: float
) -> Iterator[str]:
    foot, total = y + _ROW / 2 + 4, sum(drawn.values())
    yield words(0, foot, _cut(language))
    for place, teacher in enumerate(teachers):
        x, count = _LABEL + _CELL * place, drawn.get(teacher, 0)
        share = count / total if total else 0.0
        colour = cividis(share) if count else LINE
        yield box(x, y, _CELL - 2, _ROW - 2, colour)
        middle = x + _CELL / 2 - 1
        yield words(
            middle,
            foot - 1,
            percent(share) if count else "–",
            anchor="middle",
            fill=ink_on(colour) if count else INK,
        )
    yield words(_LABEL + _CELL * len(teachers) + _SUM, foot, f"{total:,}", anchor="end", fill=SOFT)


def percent(share: float) -> str:
    """A share as people read it: what is there is never 0 %, what is missing never 100 %.

    >>> percent(0.5), percent(0.001), percent(0.999), percent(1.0)
    ('50 %', '<1 %', '>99 %', '100 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def _lines(name: str) -> list[str]:
    return textwrap.wrap(name, _LETTERS, max_lines=_LINES, placeholder="…") or [""]


def _cut(tag: str) -> str:
    return tag if len(tag) <= 9 else f"{tag[:8]}…"

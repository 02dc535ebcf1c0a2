"""The language x teacher table: in a terminal, as Markdown, and as rows for an artifact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from arbitrage.infra.report.counts import Cell, Counts
from arbitrage.infra.report.escaping import plain

_BAR = re.compile(r"(\\*)\|")

ALL = "all"
_NUMBER_COLUMNS = ("requested", "kept", "rejected", "failed")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; a subtotal has teacher "all", the grand total has both "all"."""

    language: str
    teacher: str
    cell: Cell

    @property
    def is_total(self) -> bool:
        return self.teacher == ALL


def rows(counts: Counts, *, subtotals: bool = False) -> Iterator[Row]:
    """Lines by language and teacher, subtotals where asked, and the grand total."""
    for language in counts.languages:
        for (its_language, teacher), cell in sorted(counts.cells.items()):
            if its_language == language:
                yield Row(language, teacher, cell)
        if subtotals:
            yield Row(language, ALL, counts.total(language=language))
    yield Row(ALL, ALL, counts.total())


def rich_table(counts: Counts, *, subtotals: bool = False, width: int = 100) -> Table:
    """The table for a terminal of `width` columns, one line each.

    Reasons are cut to what fits and say how many more there are. Only tags, names and reasons are
    shown, never a model's text, so that right-to-left text cannot disturb the columns.
    """
    listed = list(rows(counts, subtotals=subtotals))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("language", no_wrap=True)
    table.add_column("teacher", no_wrap=True, max_width=24, overflow="ellipsis")
    for name in _NUMBER_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why not kept", no_wrap=True, overflow="ellipsis")
    room = _room_for_reasons(listed, width)
    before = ""
    for row in listed:
        if row.language == row.teacher == ALL:
            table.add_section()
        language = "" if row.language == before else plain(row.language)
        before = row.language
        numbers = [f"{getattr(row.cell, name):,}" for name in _NUMBER_COLUMNS]
        why = row.cell.failures + row.cell.reasons
        style = "bold" if row.is_total else ""
        texts = [
            Text(text) for text in (language, plain(row.teacher), *numbers, shortened(why, room))
        ]
        texts[5].stylize("red" if row.cell.failed else "")
        table.add_row(*texts, style=style)
    return table


def markdown_table(counts: Counts, *, subtotals: bool = False) -> str:
    """The table as GitHub-flavoured Markdown, every cell escaped."""
    lines = [
        "| language | teacher | requested | kept | rejected | failed |",
        "|---|---|--:|--:|---|---|",
    ]
    for row in rows(counts, subtotals=subtotals):
        cells = [
            code(row.language),
            code(row.teacher),
            f"{row.cell.requested:,}",
            f"{row.cell.kept:,}",
            _with_reasons(row.cell.rejected, row.cell.reasons),
            _with_reasons(row.cell.failed, row.cell.failures),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_rows(counts: Counts, *, subtotals: bool = False) -> list[dict[str, str | int]]:
    """The table as a list of rows, for example for a Prefect table artifact."""
    return [
        {
            "language": row.language,
            "teacher": row.teacher,
            "requested": row.cell.requested,
            "kept": row.cell.kept,
            "rejected": row.cell.rejected,
            "failed": row.cell.failed,
            "rejected for": listed_reasons(row.cell.reasons),
            "failed for": listed_reasons(row.cell.failures),
        }
        for row in rows(counts, subtotals=subtotals)
    ]


def listed_reasons(reasons: Mapping[str, int]) -> str:
    """`filter.cause n`, the most frequent first.

    >>> listed_reasons({"length.min_words": 2, "toxicity.max_toxicity": 31})
    'toxicity.max_toxicity 31, length.min_words 2'
    """
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(name)} {count:,}" for name, count in ordered)


def shortened(reasons: Mapping[str, int], room: int) -> str:
    """As many reasons as fit into `room` characters, and how many are left out.

    >>> shortened(Counter({"length.min_words": 2, "toxicity.max_toxicity": 31}), 40)
    'toxicity.max_toxicity 31 +1 more'
    """
    parts = listed_reasons(reasons).split(", ") if reasons else []
    for shown in range(len(parts), 0, -1):
        rest = len(parts) - shown
        text = ", ".join(parts[:shown]) + (f" +{rest} more" if rest else "")
        if len(text) <= room:
            return text
    if not parts:
        return ""
    end = f" +{len(parts) - 1} more" if len(parts) > 1 else ""
    return f"{parts[0][: room - len(end) - 1]}…{end}"


def code(text: str) -> str:
    """Any string as a Markdown code span that cannot leave its table cell.

    A bar behind backslashes gets one more where they are an even number: else the last would be
    taken for the one that escapes the next.

    >>> code("a|b`c")
    "`a\\\\|b'c`"
    """
    quoted = plain(text).replace("`", "'") or " "
    return f"`{_BAR.sub(_escaped_bar, quoted)}`"


def _escaped_bar(found: re.Match[str]) -> str:
    marks = len(found[1]) + 1
    return "\\" * (marks + (marks + 1) % 2) + "|"


def _with_reasons(count: int, reasons: Counter[str]) -> str:
    if not count:
        return "0"
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return f"{count:,}: " + ", ".join(f"{code(name)} {number:,}" for name, number in ordered)


def _room_for_reasons(listed: list[Row], width: int) -> int:
    languages = max(len(plain(row.language)) for row in listed)
    teachers = min(24, max(len(plain(row.teacher)) for row in listed))
    numbers = sum(
        max(len(name), *(len(f"{getattr(row.cell, name):,}") for row in listed))
        for name in _NUMBER_COLUMNS
    )
    columns = 3 + len(_NUMBER_COLUMNS)
    used = max(languages, len("language")) + max(teachers, len("teacher")) + numbers
    return max(20, width - used - 2 * columns)

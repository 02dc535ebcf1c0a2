"""profile: what a student of a run would inherit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from arbitrage.errors import unknown_name
from arbitrage.flows.commands.options import AsJson, RunPath, print_json, wide_console
from arbitrage.infra.report.figures import figures

if TYPE_CHECKING:
    from arbitrage.infra.report.fears import Judged
    from arbitrage.infra.report.inheritance import Attribute, Shift
    from arbitrage.infra.report.profile import Profile


def profile(
    run: RunPath,
    language: Annotated[
        str | None, typer.Option(help="One language: its measures down, its teachers across.")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="Only this measure; may be repeated.")
    ] = None,
    by: Annotated[
        Literal["teacher", "source"], typer.Option(help="Columns: teachers, or prompt sources.")
    ] = "teacher",
    as_json: AsJson = False,
) -> None:
    """Tell which teacher to fear for what, language by language, and what choosing changed.

    Without options a sentence a language. With --language its figures, with --measure one table
    of all languages.

    Example: arbitrage profile runs/demo --language ko
    """
    from arbitrage.infra.report.profile import Profile
    from arbitrage.infra.store import open_run

    found = Profile.of(open_run(run).whole(), by)
    if as_json:
        print_json(found.to_json())
        return
    for name in measure or []:
        if name not in found.measures:
            raise unknown_name("measure of this run", name, found.measures)
    if language is not None and language not in found.languages:
        raise unknown_name("language of this run", language, found.languages)
    console = wide_console()
    if measure is None or language is not None:
        for name in [language] if language else found.languages:
            console.print(f"[bold]{escape(name)}[/bold] {escape(found.sentence(name))}")
        console.print(_APART, style="dim", highlight=False)
    if language is None and measure is None:
        console.print(f"Figures of a language: --language {found.languages[0]}", style="dim")
        return
    if language is not None:
        if measure is None:
            console.print(_worst_and_best(found.judged_in(language)))
        tables = [partial(_by_measure, found, language, measure or found.measures)]
    else:
        tables = [partial(_by_language, found, name) for name in measure or []]
    for table in tables:
        _fitting(console, table)
    console.print(_FIGURES, style="dim", highlight=False)


def _fitting(console: Console, table: Callable[[bool], Table]) -> None:
    """A table with its intervals: a file or pipe gets the columns that takes, a terminal that is
    narrower gets it without them."""
    whole = table(True)
    room = console.options.update(max_width=_WIDEST, markup=False)
    needed = console.measure(whole, options=room).maximum
    if not console.is_terminal:
        Console(width=max(needed, console.width)).print(whole, markup=False)
    elif needed <= console.width:
        console.print(whole, markup=False)
    else:
        console.print(table(False), markup=False)
        console.print(f"Intervals take a terminal of {needed} columns, or | less -S.", style="dim")


_WIDEST = 400
_APART = (
    "Said of a teacher: it is surely worse than the best one there, by all pairs and attributes of "
    "the language at once (a false word in about 1 language of 20). Teachers are compared on what "
    "they answered: where a router sent them other prompts, that is in it."
)
_FIGURES = (
    "Mean over all answers, kept or not; below it its 95 % interval over prompts; – = never "
    "measured. Last: the mean of all answers and of the chosen ones, and the difference."
)


def _worst_and_best(items: list[Judged]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("to fear", "worst", "", "best", ""):
        table.add_column(name, justify="right" if not name else "left")
    for item in items:
        cells = item.by_teacher
        if item.worst:
            sides = [(names, cells[names[0]]) for names in (item.worst, item.best)]
            texts = [
                text
                for names, cell in sides
                for text in (Text("\n".join(names)), _two_lines(cell.mean, cell.low, cell.high))
            ]
        elif item.compared:
            texts = [Text("not told apart", "dim")]
        else:
            texts = [Text("measured of too few answers, or of none", "dim")]
        table.add_row(Text(item.of), *texts)
    return table


def _by_language(found: Profile, measure: str, intervals: bool) -> Table:
    by_place = found.cells(measure)
    table = _table(measure, found.teachers)
    shifts = {shift.language: shift for shift in found.shifts if shift.measure == measure}
    for language in found.languages:
        row = [by_place.get((language, teacher)) for teacher in found.teachers]
        cells = [_cell(item, intervals) for item in row]
        table.add_row(language, *cells, *_moved(shifts.get(language), intervals))
    return table


def _by_measure(found: Profile, language: str, measures: list[str], intervals: bool) -> Table:
    table = _table(language, found.teachers)
    for measure in measures:
        cells = found.cells(measure)
        row = [cells.get((language, teacher)) for teacher in found.teachers]
        moved = [s for s in found.shifts if (s.language, s.measure) == (language, measure)]
        texts = [_cell(item, intervals) for item in row]
        table.add_row(measure, *texts, *_moved(moved[0] if moved else None, intervals))
    return table


def _table(first: str, teachers: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
    for teacher in [*teachers, "all > chosen", "difference"]:
        table.add_column(teacher, justify="right", overflow="fold")
    return table


def _cell(item: Attribute | None, intervals: bool) -> Text:
    if item is None:
        return Text("")
    return _two_lines(item.mean, item.low, item.high) if intervals else Text(figures(item.mean))


def _moved(shift: Shift | None, intervals: bool) -> list[Text]:
    if shift is None:
        return [Text(""), Text("")]
    sides = Text(f"{figures(shift.every)} > {figures(shift.chosen)}")
    if not intervals:
        return [sides, Text(figures(shift.difference))]
    return [sides, _two_lines(shift.difference, shift.low, shift.high)]


def _two_lines(mean: float | None, low: float | None, high: float | None) -> Text:
    if low is None or high is None:
        return Text(figures(mean))
    return Text(figures(mean)).append(f"\n{figures(low, 2)}..{figures(high, 2)}", "dim")


def add_to(app: typer.Typer) -> None:
    app.command()(profile)

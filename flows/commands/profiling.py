"""profile: what a student of a run would inherit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from arbitrage.errors import unknown_name
from arbitrage.flows.commands.options import AsJson, RunPath, print_json, wide_console
from arbitrage.infra.report.figures import figures

if TYPE_CHECKING:
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
    """Tell what a student would inherit from each teacher, by language, and what choosing changed.

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
    measures = measure or found.measures
    if language is None:
        for name in measures:
            console.print(_by_language(found, name))
    else:
        console.print(_by_measure(found, language, measures))
    console.print(
        "Mean over all answers, kept or not; below it its 95 % interval over prompts; – = never "
        "measured. Last: the mean of all answers and of the chosen ones, and the difference.",
        highlight=False,
    )


def _by_language(found: Profile, measure: str) -> Table:
    cells = found.cells(measure)
    table = _table(measure, found.teachers)
    shifts = {shift.language: shift for shift in found.shifts if shift.measure == measure}
    for language in found.languages:
        row = [cells.get((language, teacher)) for teacher in found.teachers]
        table.add_row(language, *map(_cell, row), *_moved(shifts.get(language)))
    return table


def _by_measure(found: Profile, language: str, measures: list[str]) -> Table:
    table = _table(language, found.teachers)
    for measure in measures:
        cells = found.cells(measure)
        row = [cells.get((language, teacher)) for teacher in found.teachers]
        moved = [s for s in found.shifts if (s.language, s.measure) == (language, measure)]
        table.add_row(measure, *map(_cell, row), *_moved(moved[0] if moved else None))
    return table


def _table(first: str, teachers: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
    for teacher in [*teachers, "all > chosen", "difference"]:
        table.add_column(teacher, justify="right", overflow="fold")
    return table


def _cell(item: Attribute | None) -> Text:
    return Text("") if item is None else _two_lines(item.mean, item.low, item.high)


def _moved(shift: Shift | None) -> list[Text]:
    if shift is None:
        return [Text(""), Text("")]
    sides = f"{figures(shift.every)} > {figures(shift.chosen)}"
    return [Text(sides), _two_lines(shift.difference, shift.low, shift.high)]


def _two_lines(mean: float | None, low: float | None, high: float | None) -> Text:
    if low is None or high is None:
        return Text(figures(mean))
    return Text(figures(mean)).append(f"\n{figures(low, 2)}..{figures(high, 2)}", "dim")


def add_to(app: typer.Typer) -> None:
    app.command()(profile)

"""score: any table of texts, measured as a run would measure it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from arbitrage.config import parse_filters

Table = Annotated[Path, typer.Argument(metavar="TABLE", help="Parquet: text, language[, prompt].")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="TABLE", help="Parquet to write.")]


def score(
    table: Table,
    output: Output,
    filters: Annotated[
        list[str],
        typer.Option("--filter", metavar="NAME[:KEY=VALUE,...]", help="May be repeated."),
    ],
) -> None:
    """Measure the texts of a table: adds a column per measure (null = abstained) and label.

    Example: arbitrage score answers.parquet -o scored.parquet --filter length --filter language_id
    """
    from arbitrage.flows.score import score_file

    say = Console(stderr=True, soft_wrap=True)
    with Progress(console=say, disable=not say.is_terminal) as progress:
        bar = progress.add_task("scoring", total=None)
        rows = score_file(
            table,
            output,
            parse_filters(filters),
            lambda so_far, total: progress.update(bar, completed=so_far, total=total),
        )
    say.print(f"{rows:,} rows scored", highlight=False)
    typer.echo(str(output))


def add_to(app: typer.Typer) -> None:
    app.command()(score)

"""score: any table of texts, measured as a run would measure it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from arbitrage.config import parse_filters

Table = Annotated[str, typer.Argument(metavar="TABLE", help="Parquet: text, language[, prompt].")]
Output = Annotated[str, typer.Option("--output", "-o", metavar="TABLE", help="Parquet to write.")]


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
    from arbitrage.infra.store.s3.carried import brought, taken_away

    say = Console(stderr=True, soft_wrap=True)
    with (
        Progress(console=say, disable=not say.is_terminal) as progress,
        brought(table) as source,
        taken_away(output) as target,
    ):
        bar = progress.add_task("scoring", total=None)
        rows = score_file(
            source,
            target,
            parse_filters(filters),
            lambda so_far, total: progress.update(bar, completed=so_far, total=total),
        )
    say.print(f"{rows:,} rows scored", highlight=False)
    typer.echo(output)


def add_to(app: typer.Typer) -> None:
    app.command()(score)

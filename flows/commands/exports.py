"""view: a finished run's view in a trainer's own columns."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from arbitrage.flows.commands.options import RunPath


class Format(StrEnum):
    """File formats of `arbitrage view`."""

    ARROW = "arrow"
    PARQUET = "parquet"
    JSONL = "jsonl"


class Trainer(StrEnum):
    """Trainers whose columns `arbitrage view` writes."""

    TRL = "trl"
    VERL = "verl"
    AXOLOTL = "axolotl"
    LLAMAFACTORY = "llamafactory"
    OPENRLHF = "openrlhf"


def view(
    run: RunPath,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A view of the run, such as sft.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="New folder, or s3://...")
    ],
    file_format: Annotated[Format, typer.Option("--format", help="File format.")] = Format.ARROW,
    trainer: Annotated[Trainer, typer.Option(help="Whose columns.")] = Trainer.TRL,
) -> None:
    """Write one view in a trainer's own columns.

    Example: arbitrage view runs/demo sft --format jsonl --trainer axolotl -o sft-axolotl
    """
    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.s3.carried import taken_away
    from arbitrage.infra.views.export import export_view

    opened = open_run(run)
    with taken_away(output, empty=True) as out:
        written = export_view(opened.whole(), name, file_format.value, trainer.value, out)
        paths = [path.relative_to(out) for path in written]
    for path in paths:
        typer.echo(f"{output.rstrip('/')}/{path}")


def add_to(app: typer.Typer) -> None:
    app.command()(view)

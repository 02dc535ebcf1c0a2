"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run.toml.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

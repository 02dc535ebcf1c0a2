"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

import arbitrage.flows.credentials  # noqa: F401 - reads run.storage.secret_block
from arbitrage.errors import ConfigError
from arbitrage.infra.store.s3.place import is_s3

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run.toml.")]


def _existing(run: str) -> str:
    if not is_s3(run) and not Path(run).is_dir():
        raise ConfigError(
            f'there is no run folder "{run}".',
            mend="Name one as `arbitrage run` prints it in its last line.",
        )
    return run


RunPath = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or s3://...", callback=_existing)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


# What a table needs where no terminal says how wide it is: rich would take 80.
_PLAIN_WIDTH = 100


def wide_console() -> Console:
    """Standard output, as wide as the terminal; in a file or a pipe at least 100 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=max(_PLAIN_WIDTH, console.width))


def interval(bounds: tuple[float, float] | None, digits: int = 4) -> str:
    """Both ends of an interval for a table; "-" where there is none."""
    return "-" if bounds is None else f"{bounds[0]:.{digits}g} .. {bounds[1]:.{digits}g}"


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())

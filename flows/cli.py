"""The door: `arbitrage COMMAND`. Commands live in flows/commands; errors become exit codes here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

import arbitrage
from arbitrage.errors import ArbitrageError
from arbitrage.flows.commands import (
    auditing,
    calibrating,
    configs,
    exports,
    finished,
    lineage,
    planning,
    profiling,
    routing,
    running,
    scoring,
)

EXIT_CODES = (
    "Exit codes: 0 done; 2 bad input or config; 3 done with a shortfall; 4 verification failed; "
    "130 interrupted, work saved."
)

app = typer.Typer(
    name="arbitrage",
    help="Route multilingual prompts to the teachers that answer them best, choose what a student "
    f"inherits, and write training shards.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for module in (
    configs,
    planning,
    running,
    finished,
    lineage,
    profiling,
    exports,
    scoring,
    auditing,
    routing,
    calibrating,
):
    module.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"arbitrage {arbitrage.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit with the contract's codes."""
    try:
        app(prog_name="arbitrage", standalone_mode=True)
    except ArbitrageError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

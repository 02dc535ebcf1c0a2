"""The exit code of a run that ended with less than it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

SHORTFALL = 3


def exit_on_shortfall(sentences: Sequence[str], go_on: str | None = None) -> None:
    """Say what is missing and exit with 3; where nothing is, go on.

    Args:
        go_on: the command that asks for the rest, where there is one.
    """
    say = Console(stderr=True, soft_wrap=True)
    for sentence in sentences:
        say.print(f"{sentence}.", highlight=False, markup=False)
    if sentences and go_on is not None:
        say.print("To ask for the rest (the budget is an estimate):", highlight=False)
        say.print(f"  {go_on}", highlight=False, markup=False)
    if sentences:
        sys.stdout.flush()
        raise typer.Exit(SHORTFALL)

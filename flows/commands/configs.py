"""init, check, list: what a user needs before the first run."""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from arbitrage.errors import ConfigError, OutputError
from arbitrage.flows.commands.options import AsJson, ConfigPath, Overrides, print_json, wide_console


class Family(StrEnum):
    """What `arbitrage list` can list."""

    FILTERS = "filters"
    ROUTERS = "routers"
    TEACHERS = "teachers"
    VIEWS = "views"


def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = Path(
        "run.toml"
    ),
) -> None:
    """Write a commented config to edit.

    Example: arbitrage init -o run.toml
    """
    text = resources.files("arbitrage").joinpath("data/run.toml").read_text(encoding="utf-8")
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f'"{output}" exists already.', mend="Name another with -o.") from None
    except OSError as error:
        raise OutputError(f'"{output}" cannot be written: {error.strerror}.') from error
    typer.echo(f"Wrote {output}. Edit it, then: arbitrage check {output}")


def check(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check that a run can start: config, source, teachers, router, filters, output.

    Example: arbitrage check run.toml
    """
    from arbitrage.flows.preflight import preflight

    findings = list(preflight(config, overrides or []))
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        console = Console(soft_wrap=True)
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL"
            console.print(
                f"{mark}  {finding.what}: {finding.message}", markup=False, highlight=False
            )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(2)


def list_plugins(
    family: Annotated[Family, typer.Argument(help="Which family.")], as_json: AsJson = False
) -> None:
    """List what exists, with versions and one line each.

    Example: arbitrage list filters
    """
    from arbitrage import registry

    entries = getattr(registry, family.value).entries()
    if as_json:
        print_json(
            [
                {
                    "name": entry.name,
                    "version": entry.version,
                    "summary": entry.summary,
                    "params": sorted(entry.params.model_fields),
                }
                for entry in entries
            ]
        )
        return
    table = Table("name", "what it is", "params", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.identity, entry.summary, ", ".join(entry.params.model_fields) or "-")
    wide_console().print(table)


def add_to(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(check)
    app.command("list")(list_plugins)

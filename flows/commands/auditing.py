"""audit-reward: how right a reward is about pairs that people judged, per language."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arbitrage.config import parse_filters
from arbitrage.errors import ConfigError
from arbitrage.flows.commands.options import AsJson, print_json, wide_console


def audit_reward(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE...",
            help="Parquet or JSON lines: prompt, chosen, rejected, language[, category].",
        ),
    ],
    filters: Annotated[
        list[str],
        typer.Option("--filter", metavar="NAME[:KEY=VALUE,...]", help="May be repeated."),
    ],
    rewards: Annotated[
        list[str] | None,
        typer.Option(
            "--reward",
            help='"maximize:FILTER.MEASURE", "minimize:..." or TOML weights of z-scores; may be '
            "repeated; default: every measure, the more the better.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write audit.json, .md and .html."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how often a reward prefers the answer that people chose, by language and category.

    Example: arbitrage audit-reward pairs.parquet --filter length --filter readability -o audit
    """
    from arbitrage.flows.audit import audit_rewards, write_audit

    say = Console(stderr=True, soft_wrap=True)
    with Progress(console=say, disable=not say.is_terminal) as progress:
        bar = progress.add_task("measuring pairs", total=None)
        audit = audit_rewards(
            tables,
            parse_filters(filters),
            [_reward(text) for text in rewards or []],
            done=lambda so_far, total: progress.update(bar, completed=so_far, total=total),
        )
    if output is not None:
        for path in write_audit(audit, output):
            say.print(str(path), highlight=False, markup=False)
    if as_json:
        print_json(audit)
    else:
        _show(audit)


def _reward(text: str) -> str | dict[str, float]:
    """An objective, or weights as an inline table of TOML."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        weights = tomllib.loads(f"weights = {text}")["weights"]
        return {str(name): float(weight) for name, weight in weights.items()}
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"--reward {text}: {error}.",
            mend="""Write for example --reward '{ "length.words" = 0.5, "script.share" = 1 }'.""",
        ) from error


def _show(audit: dict[str, Any]) -> None:
    from arbitrage.infra.report.audit_page import NOTE, tables

    console = wide_console()
    for heading, columns, rows in tables(audit):
        table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
        for at, name in enumerate(columns):
            table.add_column(name, justify="right" if at else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, markup=False, highlight=False)
    console.print(NOTE, highlight=False)


def add_to(app: typer.Typer) -> None:
    app.command(name="audit-reward")(audit_reward)

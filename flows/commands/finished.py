"""verify, explain, report: questions asked of a finished run."""

from __future__ import annotations

from typing import Annotated

import typer

from arbitrage.flows.commands.options import AsJson, RunPath, print_json, wide_console

FAILED = 4


def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or s3://...")],
) -> None:
    """Recount a run from its files and check every hash; prints one JSON object, exits 0 or 4.

    Example: arbitrage verify runs/demo
    """
    from arbitrage.infra.store.verify import verify_run

    found = verify_run(run)
    print_json(found.to_json())
    if not found.ok:
        raise typer.Exit(FAILED)


def explain(
    run: RunPath,
    prompt_id: Annotated[str, typer.Argument(metavar="PROMPT_ID", help="Which prompt.")],
    as_json: AsJson = False,
) -> None:
    """Show one prompt's route, every candidate, score and verdict, and why.

    Example: arbitrage explain runs/demo tr-0001
    """
    from arbitrage.flows.explanation import explain_prompt, show_prompt

    explained = explain_prompt(run, prompt_id)
    if as_json:
        print_json(explained.to_json())
    else:
        show_prompt(wide_console(), explained)


def report(run: RunPath) -> None:
    """Write report.html and the dataset card of a finished run again.

    Example: arbitrage report runs/demo
    """
    from arbitrage.flows.rendering import render_again

    for path in render_again(run):
        typer.echo(path)


def add_to(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(explain)
    app.command()(report)

"""lineage: the rounds that led to a run."""

from __future__ import annotations

import typer

from arbitrage.flows.commands.options import AsJson, RunPath, print_json, wide_console

_BROKEN = {"grown", "changed", "unreadable"}
FAILED = 4


def lineage(run: RunPath, as_json: AsJson = False) -> None:
    """Show the rounds before a run, and whether they are still what it was made from.

    Exits 4 where an earlier run is there and is another than it was.

    Example: arbitrage lineage runs/round-2
    """
    from rich.table import Table
    from rich.text import Text

    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.lineage import lineage_of

    rounds = lineage_of(open_run(run))
    if as_json:
        print_json({"rounds": [item.to_json() for item in rounds]})
    else:
        table = Table(box=None)
        for title in ("round", "run", "trained", "finished", "sha256", "state", "where"):
            table.add_column(title, overflow="fold")
        for item in rounds:
            cells = (item.run_id, item.student or "", item.finished_at[:16].replace("T", " "))
            told = (str(item.number), *cells, item.sha256[:12], item.state, item.address)
            table.add_row(*map(Text, told))  # as text: a name in a manifest is no markup
        wide_console().print(table)
    if any(item.state in _BROKEN for item in rounds):
        raise typer.Exit(FAILED)


def add_to(app: typer.Typer) -> None:
    app.command()(lineage)

"""router value: what another router would have earned on a finished run."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from arbitrage.flows.commands.options import AsJson, RunPath, interval, print_json, wide_console


def value(
    run: RunPath,
    artefact: Annotated[
        str, typer.Option(metavar="DIR", help="Folder that `arbitrage router fit -o` wrote.")
    ],
    reward: Annotated[
        str, typer.Option(metavar="FILTER.MEASURE", help="Or minimize:FILTER.MEASURE.")
    ],
    *,
    null_reward: Annotated[
        float | None, typer.Option(help="Reward of answers that failed or have no score.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Fixes folds and intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Estimate a router's mean reward from an old run's draws and their propensities.

    Example: arbitrage router value runs/demo --artefact router --reward language_id.match --json
    """
    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.s3.carried import brought
    from arbitrage.routers.off_policy import off_policy_value
    from arbitrage.tasks.valuing import logged_run

    with brought(artefact) as folder:
        logged = logged_run(open_run(run), folder, reward, null_reward=null_reward)
    found = off_policy_value(logged.log, seed=seed)
    found = {"run": str(run), "artefact": artefact, "reward": reward, **found}
    found["notes"] = list(logged.notes)
    if as_json:
        print_json(found)
        return
    say = Console(stderr=True, soft_wrap=True)
    for note in found["notes"]:
        say.print(f"{run}: {note}", highlight=False, markup=False)
    console = wide_console()
    console.print(_table(found))
    console.print(
        f"{found['n_prompts']:,} prompts, worth {found['effective_sample_size']:,.0f}. Intervals: "
        "95 %, bootstrap over prompts, paired.",
        highlight=False,
    )
    for warning in found["warnings"]:
        say.print(f"warning: {warning}", highlight=False, markup=False)


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("estimate", no_wrap=True)
    for name in ("mean reward", "95 %", "vs the run", "95 %"):
        table.add_column(name, justify="right")
    logged = found["logged"]
    table.add_row("the run itself", f"{logged['value']:.4g}", interval(logged["ci95"]), "", "")
    for name, row in found["estimates"].items():
        against = row["vs_logged"]
        known = row["value"] is not None
        mean = f"{row['value']:.4g}" if known else "-"
        difference = f"{against['difference']:+.4g}" if known else "-"
        table.add_row(name, mean, interval(row["ci95"]), difference, interval(against["ci95"]))
    return table

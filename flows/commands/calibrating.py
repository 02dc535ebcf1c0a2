"""calibrate and router rollback: the commands that change which artefact is in use."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from arbitrage.config import load_config
from arbitrage.errors import InterruptedRunError
from arbitrage.flows.commands import ranking
from arbitrage.flows.commands.options import (
    AsJson,
    ConfigPath,
    Overrides,
    print_json,
    wide_console,
)
from arbitrage.flows.commands.routing import evaluation_table
from arbitrage.flows.commands.shortfall import exit_on_shortfall
from arbitrage.flows.settings import prepare_prefect

if TYPE_CHECKING:
    from arbitrage.config import RunConfig

_HAPPENS = {
    "new": "new calibration",
    "continued": "continuing the unfinished calibration",
    "finished": "this calibration is finished already:",
}


def calibrate(
    config: ConfigPath,
    overrides: Overrides = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the calibration's folder; continues it.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Start afresh.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have all teachers answer some prompts, fit a router, and use it if it is not worse.

    Prints the calibration's folder as its last line.

    Example: arbitrage calibrate run.toml --set calibrate.prompts=300
    """
    from arbitrage.infra.report.outcome import failed_share
    from arbitrage.infra.store.begin import check_output
    from arbitrage.infra.store.calibration import foresee_calibration
    from arbitrage.tasks.labelling import calibration_identity, check_in_use

    checked = load_config(config, overrides or [])
    prepare_prefect()
    say = Console(stderr=True, soft_wrap=True)
    identity = calibration_identity(checked)
    how, path = foresee_calibration(checked, identity, run_id, new=new)
    say.print(f"{_HAPPENS[how]} {path}", highlight=False, markup=False)
    if how != "finished":
        check_in_use(checked)
        check_output(checked)
        _calibrate(say, checked, path.name, new)
    found = _read(path)
    if as_json:
        print_json(found)
    else:
        show(found, path)
    short = failed_share(found["failed"], found["requested"], checked.run.max_failed_share)
    exit_on_shortfall([short] if short else [])


def show(found: dict[str, Any], path: Path) -> None:
    """Print what a calibration found and decided."""
    console = wide_console()
    console.print(evaluation_table(found["metrics"]))
    metrics = found["metrics"]
    console.print(
        f"{metrics['n_prompts']:,} prompts drawn at random, {len(metrics['teachers'])} teachers, "
        f"{metrics['split']}. Intervals: 95 %, bootstrap over prompts, paired.",
        highlight=False,
    )
    answered = sum(found["prompts"].values())
    console.print(
        f"{answered:,} prompts answered by all teachers, {found['asked_for']:,} asked for: "
        f"{found['requested']:,} candidates, {found['failed']:,} failed.",
        highlight=False,
    )
    what = "Promoted" if found["promoted"] else "Not promoted"
    console.print(f"\n{what}: {found['why']}.", highlight=False, markup=False)
    said = f"In use: {found['artefact']}" if found["promoted"] else "What was in use still is."
    if found["promoted"] and found["comparison"]["in_use"] == found["comparison"]["sha256"]:
        said += ", unchanged: the very same router was fitted again"
    elif found["earlier"]:
        said += f" (before: {found['earlier']}; arbitrage router rollback {found['artefact']})"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Card: {path}/artefact/card.md", highlight=False, markup=False, soft_wrap=True)
    typer.echo(str(path))


def rollback(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="The artefact in use.")],
    to: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which earlier one; default: the latest.")
    ] = None,
) -> None:
    """Put an earlier artefact back in use; the one it replaces is kept.

    Example: arbitrage router rollback router
    """
    from arbitrage.routers.promotion import rollback as put_back

    back = put_back(place, to)
    typer.echo(f"{back} is in use again at {place}")


def _calibrate(say: Console, config: RunConfig, run_id: str, new: bool) -> None:
    from arbitrage.infra.interrupt import stopping_on_signals

    with stopping_on_signals():
        say.print("loading Prefect", highlight=False)
        from arbitrage.flows.calibrate import calibrate as calibrating
        from arbitrage.flows.display import showing_progress
        from arbitrage.flows.server import prefect_api

        try:
            with prefect_api(partial(say.print, highlight=False)), showing_progress(say):
                calibrating(config, run_id=run_id, new=new)
        except (InterruptedRunError, KeyboardInterrupt):
            raise InterruptedRunError(
                "the calibration was stopped; every answer so far is saved.",
                mend=f"Continue with the same command and --run-id {run_id}.",
            ) from None


def _read(path: Path) -> dict[str, Any]:
    from arbitrage.infra.store.calibration import FINISHED
    from arbitrage.infra.store.files import Folder

    found: dict[str, Any] = Folder(path).read_json(FINISHED)
    return found


def add_to(app: typer.Typer) -> None:
    app.command()(calibrate)
    router = next(group for group in app.registered_groups if group.name == "router")
    assert router.typer_instance is not None
    router.typer_instance.command()(rollback)
    ranking.add_to(router.typer_instance)

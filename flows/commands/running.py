"""run and decide: the commands that make a run folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from arbitrage.config import RunConfig, load_config
from arbitrage.errors import ConfigError, InterruptedRunError
from arbitrage.flows.commands.options import ConfigPath, Overrides, RunPath, wide_console
from arbitrage.flows.commands.shortfall import exit_on_shortfall
from arbitrage.flows.settings import prepare_prefect
from arbitrage.infra.interrupt import stopping_on_signals
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.place import S3Place

_HAPPENS = {
    "new": "new run",
    "continued": "continuing the unfinished run",
    "finished": "this run is finished already:",
    "raised": "continuing, with more to spend, the run that its budget ended:",
}


def run(
    config: ConfigPath,
    overrides: Overrides = None,
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run folder; continues it.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Start afresh.")] = False,
) -> None:
    """Run a config from prompts to training shards; prints the run folder as its last line.

    An unfinished run of the same config is continued. So is one that its budget ended, where it is
    named and gets a larger one: --run-id ID --set run.budget_usd=20

    Example: arbitrage run run.toml --set run.samples=4
    """
    from arbitrage.filters.independence import check_rewards
    from arbitrage.infra.report.enough import enough
    from arbitrage.infra.report.outcome import Outcome
    from arbitrage.infra.store.begin import check_output, foresee

    checked = load_config(config, overrides or [])
    prepare_prefect()
    say = Console(stderr=True, soft_wrap=True)
    how, path = foresee(checked, run_id, new=new)
    say.print(f"{_HAPPENS[how]} {path}", highlight=False, markup=False)
    if how != "finished":
        check_rewards(checked)
        check_output(checked)
        _distill(say, checked, path.name, new)
    manifest = show_run(path)
    typer.echo(str(path))
    more = [f"{key}={value:.12g}" for key, value in enough(manifest).items()]
    go_on = how_to_go_on(sys.argv[1:], path.name, more) if more else None
    exit_on_shortfall(Outcome.of(manifest).shortfalls, go_on)


def decide(
    run: RunPath,
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="New thresholds, selection, views.")
    ] = None,
    overrides: Overrides = None,
    *,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace the run's decisions.")
    ] = False,
    run_id: Annotated[str | None, typer.Option(help="Name of the new run folder.")] = None,
    retry_unanswered: Annotated[
        bool,
        typer.Option("--retry-unanswered", help="Ask reward servers again where they gave none."),
    ] = False,
) -> None:
    """Decide a finished run again from its stored scores. Sends nothing to any teacher.

    Example: arbitrage decide runs/demo --set filters.length.min_words=20
    """
    from arbitrage.flows.redecide import redecide
    from arbitrage.infra.report.limits import shortfalls

    if in_place and run_id is not None:
        raise ConfigError(
            f'--in-place replaces the run\'s own decisions, so --run-id "{run_id}" names nothing.',
            mend="Leave one of the two out.",
        )
    path = redecide(
        run,
        config,
        overrides or [],
        in_place=in_place,
        run_id=run_id,
        retry_unanswered=retry_unanswered,
    )
    manifest = show_run(path)
    typer.echo(str(path))
    exit_on_shortfall([f"short: {sentence}" for sentence in shortfalls(manifest)])


def show_run(path: Path | S3Place) -> dict[str, Any]:
    """Print the table of a finished run and how to load its views; returns its manifest."""
    from arbitrage.infra.report.counts import Counts
    from arbitrage.infra.report.rewards import reward_sentences
    from arbitrage.infra.report.table import rich_table
    from arbitrage.infra.report.unknown import unknown_sentences
    from arbitrage.infra.store import open_run

    manifest = open_run(path).manifest
    console = wide_console()
    counts = Counts.from_json(manifest["counts"])
    console.print(rich_table(counts, width=console.width))
    for sentence in unknown_sentences(manifest):
        console.print(f"unknown language {sentence}", highlight=False, markup=False)
    for sentence in reward_sentences(manifest):
        console.print(f"reward {sentence}", highlight=False, markup=False)
    for name, view in manifest["views"].items():
        console.print(f"\n{view['rows']} rows of {name}. Load them with", highlight=False)
        console.print("  from datasets import load_from_disk", highlight=False)
        console.print(
            f'  {name} = load_from_disk("{path}/views/{name}")',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(f"\nReport: {path}/report.html", highlight=False, markup=False, soft_wrap=True)
    return manifest


def _distill(say: Console, config: RunConfig, run_id: str, new: bool) -> None:
    # From here on a signal is a request, not an exception inside whatever Prefect is just doing.
    with stopping_on_signals():
        say.print("loading Prefect", highlight=False)
        from arbitrage.flows.display import showing_progress
        from arbitrage.flows.distill import distill
        from arbitrage.flows.server import prefect_api
        from arbitrage.infra.generation.death import AllTeachersDeadError

        try:
            with prefect_api(partial(say.print, highlight=False)), showing_progress(say):
                distill(config, run_id=run_id, new=new)
        except (InterruptedRunError, KeyboardInterrupt):
            raise InterruptedRunError(
                "the run was stopped; everything finished is saved.",
                mend=f"Continue with: {how_to_go_on(sys.argv[1:], run_id)}",
            ) from None
        except AllTeachersDeadError as error:
            go_on = f"continue with: {how_to_go_on(sys.argv[1:], run_id)}"
            raise AllTeachersDeadError.of(error.deaths, go_on) from None
        except StorageError as error:
            go_on = f"{error.mend} Then continue with: {how_to_go_on(sys.argv[1:], run_id)}"
            raise StorageError(error.what, mend=go_on) from None


def how_to_go_on(arguments: Sequence[str], run_id: str, overrides: Sequence[str] = ()) -> str:
    """The command that continues this run, whatever else there is to continue.

    >>> how_to_go_on(["run", "a.toml", "--set", "run.budget_usd=1", "--new"], "a-1",
    ...     ["run.budget_usd=2"])
    'arbitrage run a.toml --run-id a-1 --set run.budget_usd=2'
    """
    replaced = {override.partition("=")[0] for override in overrides}
    given: list[str] = []
    left = iter(argument for argument in arguments if argument != "--new")
    for argument in left:
        pair = [argument, next(left, "")] if argument == "--set" else [argument]
        if pair[-1].removeprefix("--set=").partition("=")[0].strip() not in replaced:
            given += pair
    if not any(argument.split("=")[0] == "--run-id" for argument in given):
        given += ["--run-id", run_id]
    for override in overrides:
        given += ["--set", override]
    return shlex.join(["arbitrage", *given])


def add_to(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(decide)

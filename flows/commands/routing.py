"""router fit and router evaluate: what a reward log teaches, and what routers are worth on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from arbitrage.config import load_config
from arbitrage.errors import ConfigError
from arbitrage.flows.commands import router_value
from arbitrage.flows.commands.options import AsJson, interval, print_json, wide_console
from arbitrage.infra.store.s3.place import is_s3

if TYPE_CHECKING:
    from arbitrage.routers.meaning import Meaning
    from arbitrage.routers.reward_log import RewardLog

Log = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="Parquet: prompt_id, language, prompt, teacher, reward[, task, group, source]; or a "
        "finished run.",
    ),
]
Reward = Annotated[
    str | None,
    typer.Option(
        metavar="MEASURE",
        help='Of a run: "FILTER.MEASURE" or "minimize:FILTER.MEASURE"; default what it chose by.',
    ),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        metavar="KIND[:KEY=VALUE,...]",
        help="Read embeddings beside words: e5, endpoint:base_url=...,model=... and so on.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="CONFIG", help="A run.toml: prices, models and precisions."),
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of vectors, so that a text is embedded once."),
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes folds and intervals.")]


def fit(
    log: Log,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="Folder to write, or s3://...")
    ],
    kind: Annotated[str, typer.Option(help="learned, nearest, cluster or fixed.")] = "learned",
    reward: Reward = None,
    embeddings: Embeddings = None,
    embedding_cache: Cache = None,
    config: Config = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a router on a reward log and write its artefact: router.npz, card.json and card.md.

    Example: arbitrage router fit rewards.parquet -o router --kind learned
    """
    from arbitrage.infra.report.router_card import render_router_card
    from arbitrage.infra.store.s3.carried import taken_away
    from arbitrage.routers.fit import fit_artefact
    from arbitrage.routers.promotion import PAGE
    from arbitrage.tasks.labelling import costs_of, identities_of

    say = Console(stderr=True, soft_wrap=True)
    checked = None if config is None else load_config(config)
    costs, identities = (
        (None, None) if checked is None else (costs_of(checked), identities_of(checked))
    )
    read = read_log(log, say, reward)
    say.print(f"fitting {kind} on {len(read):,} prompts", highlight=False)
    with _meaning(embeddings, embedding_cache) as meaning, taken_away(output) as folder:
        card = fit_artefact(
            read,
            folder,
            kind=kind,
            seed=seed,
            costs=costs,
            identities=identities,
            meaning=meaning,
        )
        (folder / PAGE).write_text(render_router_card(card), encoding="utf-8")
    if as_json:
        print_json(card)
        return
    for ranking in card["ranking"]:
        say.print(ranking["says"], highlight=False, markup=False)
    weighing = card["settings"].get("weighing")
    if weighing and weighing["trusted"] != "learned":
        name = "the best teacher per language" if weighing["trusted"] == "fixed" else "one teacher"
        say.print(
            f"No signal in the prompts that could be trusted: it routes to {name}.", highlight=False
        )
    if card["metrics"]:
        wide_console().print(evaluation_table(card["metrics"]))
    typer.echo(output)


def evaluate(
    log: Log,
    *,
    test: Annotated[
        str | None, typer.Option(metavar="LOG2", help="Fit on LOG, score on this.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds where there is no --test.")] = 5,
    reward: Reward = None,
    embeddings: Embeddings = None,
    embedding_cache: Cache = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare routers on a reward log: by cross-validation, or fitted on LOG and scored on LOG2.

    Example: arbitrage router evaluate runs/everybody --reward language_id.match
    """
    from arbitrage.routers.evaluation import cross_validated, scored_on, summarised
    from arbitrage.routers.policies import EMBEDDED, POLICIES

    say = Console(stderr=True, soft_wrap=True)
    read = read_log(log, say, reward)
    routers = (*POLICIES, EMBEDDED) if embeddings else tuple(POLICIES)
    with _meaning(embeddings, embedding_cache) as meaning:
        if test is None:
            found = cross_validated(read, routers, folds=folds, seed=seed, meaning=meaning)
        else:
            later = read_log(test, say, reward)
            found = scored_on(read, later, routers, seed=seed, meaning=meaning)
    summary = summarised(found, seed=seed)
    if as_json:
        print_json(summary)
        return
    for note in summary["notes"]:
        if note not in read.notes:
            say.print(note, highlight=False, markup=False)
    console = wide_console()
    console.print(evaluation_table(summary))
    console.print(
        f"{summary['n_prompts']:,} prompts, {len(summary['teachers'])} teachers, "
        f"{summary['split']}. Intervals: 95 %, bootstrap over prompts or groups, paired.",
        highlight=False,
    )


@contextmanager
def _meaning(written: str | None, cache: Path | None) -> Iterator[Meaning | None]:
    """The embedder of `--embeddings`, with a cache that lasts for the command at least."""
    from arbitrage.routers.meaning import meaning_of

    if written is None:
        yield None
        return
    kind, _, rest = written.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    params = {"kind": kind} | {key: value for key, _, value in pairs}
    with tempfile.TemporaryDirectory(prefix="arbitrage-vectors-") as folder:
        yield meaning_of(params, cache or folder)


def read_log(path: str, say: Console, reward: str | None) -> RewardLog:
    """A parquet table or a finished run as a reward log, with its notes said."""
    from arbitrage.infra.store.s3.carried import brought
    from arbitrage.routers.reward_log import read_reward_log

    # An object called so is a table; anything else in a store can only be a run.
    table = path.endswith(".parquet") if is_s3(path) else not Path(path).is_dir()
    if not table:
        log = _of_run(path, say, reward)
    elif reward is None:
        with brought(path) as local:
            log = read_reward_log(local)
    else:
        raise ConfigError(
            f'"{path}" is a reward log, whose reward is its column of that name.',
            mend="Leave --reward out, or name a run folder.",
        )
    for note in log.notes:
        say.print(f"{path}: {note}", highlight=False, markup=False)
    return log


def _of_run(path: str, say: Console, reward: str | None) -> RewardLog:
    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.rewards import reward_of, reward_table
    from arbitrage.routers.reward_log import reward_log_of
    from arbitrage.tasks.trust import may_be_learned

    run = open_run(path)
    objective = reward or reward_of(run)
    if objective is None:
        raise ConfigError(
            f'the run "{path}" chose by no single measure.', mend="Name one with --reward."
        )
    say.print(f"{path}: the reward is {objective}", highlight=False, markup=False)
    return reward_log_of(may_be_learned(run, reward_table(run, objective), objective), path)


def evaluation_table(summary: dict[str, Any]) -> Table:
    """Routers of an evaluation, a line each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("router", no_wrap=True)
    for name in ("mean reward", "95 %", "vs fixed", "95 %", "gap closed"):
        table.add_column(name, justify="right")
    for name, row in summary["routers"].items():
        closed = row["gap_closed"]
        table.add_row(
            name,
            f"{row['mean_reward']:.4g}",
            interval(row["ci95"]),
            f"{row['vs_fixed']['difference']:+.4g}",
            interval(row["vs_fixed"]["ci95"]),
            "-" if closed is None else f"{closed:.1%}",
        )
    return table


def add_to(app: typer.Typer) -> None:
    router = typer.Typer(
        help="Fit routers on reward logs and compare them.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    router.command()(fit)
    router.command()(evaluate)
    router.command()(router_value.value)
    app.add_typer(router, name="router")

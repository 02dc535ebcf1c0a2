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

from arbitrage.flows.commands.options import AsJson, print_json, wide_console

if TYPE_CHECKING:
    from arbitrage.routers.meaning import Meaning
    from arbitrage.routers.reward_log import RewardLog

Log = Annotated[
    Path,
    typer.Argument(
        metavar="LOG", help="Parquet: prompt_id, language, prompt, teacher, reward[, task, group]."
    ),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        metavar="KIND[:KEY=VALUE,...]",
        help="Read embeddings beside words: e5, endpoint:base_url=...,model=... and so on.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of vectors, so that a text is embedded once."),
]
Seed = Annotated[int, typer.Option(min=0, help="Fixes folds and intervals.")]


def fit(
    log: Log,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    kind: Annotated[str, typer.Option(help="learned, nearest, cluster or fixed.")] = "learned",
    *,
    embeddings: Embeddings = None,
    embedding_cache: Cache = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a router on a reward log and write its artefact: router.npz and card.json.

    Example: arbitrage router fit rewards.parquet -o router --kind learned
    """
    from arbitrage.routers.fit import fit_artefact

    say = Console(stderr=True, soft_wrap=True)
    read = _read(log, say)
    say.print(f"fitting {kind} on {len(read):,} prompts", highlight=False)
    with _meaning(embeddings, embedding_cache) as meaning:
        card = fit_artefact(read, output, kind=kind, seed=seed, meaning=meaning)
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
        wide_console().print(_table(card["metrics"]))
    typer.echo(str(output))


def evaluate(
    log: Log,
    test: Annotated[
        Path | None, typer.Option(metavar="LOG2", help="Fit on LOG, score on this.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds where there is no --test.")] = 5,
    *,
    embeddings: Embeddings = None,
    embedding_cache: Cache = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare routers on a reward log: by cross-validation, or fitted on LOG and scored on LOG2.

    Example: arbitrage router evaluate rewards.parquet --test later.parquet --json
    """
    from arbitrage.routers.evaluation import cross_validated, scored_on, summarised
    from arbitrage.routers.policies import EMBEDDED, POLICIES

    say = Console(stderr=True, soft_wrap=True)
    read = _read(log, say)
    routers = (*POLICIES, EMBEDDED) if embeddings else tuple(POLICIES)
    with _meaning(embeddings, embedding_cache) as meaning:
        if test is None:
            found = cross_validated(read, routers, folds=folds, seed=seed, meaning=meaning)
        else:
            found = scored_on(read, _read(test, say), routers, seed=seed, meaning=meaning)
    summary = summarised(found, seed=seed)
    if as_json:
        print_json(summary)
        return
    console = wide_console()
    console.print(_table(summary))
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


def _read(path: Path, say: Console) -> RewardLog:
    from arbitrage.routers.reward_log import read_reward_log

    log = read_reward_log(path)
    for note in log.notes:
        say.print(f"{path}: {note}", highlight=False, markup=False)
    return log


def _table(summary: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("router", no_wrap=True)
    for name in ("mean reward", "95 %", "vs fixed", "95 %", "gap closed"):
        table.add_column(name, justify="right")
    for name, row in summary["routers"].items():
        closed = row["gap_closed"]
        table.add_row(
            name,
            f"{row['mean_reward']:.4g}",
            _interval(row["ci95"]),
            f"{row['vs_fixed']['difference']:+.4g}",
            _interval(row["vs_fixed"]["ci95"]),
            "-" if closed is None else f"{closed:.1%}",
        )
    return table


def _interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.4g} .. {bounds[1]:.4g}"


def add_to(app: typer.Typer) -> None:
    router = typer.Typer(
        help="Fit routers on reward logs and compare them.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    router.command()(fit)
    router.command()(evaluate)
    app.add_typer(router, name="router")

"""router rank: which teacher in which language, by how much, how sure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from arbitrage.config import load_config
from arbitrage.errors import ConfigError, unknown_name
from arbitrage.flows.commands.options import AsJson, interval, print_json, wide_console
from arbitrage.flows.commands.routing import Config, Log, Reward, Seed, read_log

if TYPE_CHECKING:
    from arbitrage.routers.ranking import Ranking
    from arbitrage.routers.variants import Variant


def rank(
    log: Log,
    *,
    reward: Reward = None,
    config: Config = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(metavar="TEACHER=COST", help="For ties; each teacher once."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Markdown as well.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Rank teachers in each language: means, Bradley-Terry, Elo, and what cannot be told apart.

    Example: arbitrage router rank rewards.parquet --cost big=1.0 --cost small=0.2
    """
    from arbitrage.infra.report.router_card import render_ranking
    from arbitrage.infra.store.files import Folder
    from arbitrage.routers.ranking import rank_teachers
    from arbitrage.routers.variants import compare_variants
    from arbitrage.tasks.labelling import costs_of, identities_of

    say = Console(stderr=True, soft_wrap=True)
    read = read_log(log, say, reward)
    checked = None if config is None else load_config(config)
    costs = _costs(cost or [], read.teachers) or (checked and costs_of(checked)) or None
    rankings = rank_teachers(read, costs=costs, seed=seed)
    variants = compare_variants(read, identities_of(checked) if checked else {}, seed=seed)
    found: dict[str, Any] = {
        "n_prompts": len(read),
        "teachers": list(read.teachers),
        "notes": list(read.notes),
        "ranking": [ranking.to_json() for ranking in rankings],
        "variants": [item.to_json() for item in variants],
    }
    if page is not None:
        text = render_ranking(found["ranking"], found["variants"])
        Folder(page.parent).write_bytes(page.name, text.encode("utf-8", "replace"))
    if as_json:
        print_json(found)
        return
    _show(rankings, variants)


def _costs(given: list[str], teachers: tuple[str, ...]) -> dict[str, float]:
    costs: dict[str, float] = {}
    for option in given:
        name, equals, text = option.rpartition("=")
        try:
            value = float(text) if equals else -1.0
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(
                f'--cost "{option}" is not TEACHER=COST.', mend="Write for example --cost big=1.5."
            )
        if name not in teachers:
            raise unknown_name("teacher of this log", name, teachers, mend="Fix --cost.")
        costs[name] = value
    unpriced = [name for name in teachers if name not in costs]
    if costs and unpriced:
        raise ConfigError(
            f"no cost is given of {', '.join(unpriced)}, who would seem to cost nothing.",
            mend="Give --cost of every teacher.",
        )
    return costs


def _show(rankings: list[Ranking], variants: list[Variant]) -> None:
    console = wide_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("language", no_wrap=True)
    table.add_column("teacher", no_wrap=True)
    for name in ("mean", "95 %", "behind", "95 %", "B.-T.", "Elo"):
        table.add_column(name, justify="right", no_wrap=True)
    # All languages last, where a terminal shows them.
    for ranking in [*rankings[1:], rankings[0]]:
        for place, line in enumerate(ranking.teachers):
            chosen = "*" if line.teacher == ranking.choice else " "
            table.add_row(
                ranking.language if place == 0 else "",
                f"{chosen} {line.teacher}",
                f"{line.mean:.3g}",
                interval(line.ci95, 3),
                f"{line.behind:.3g}" if place else "",
                interval(line.behind_ci95, 3) if place else "",
                f"{line.strength:+.2f}",
                f"{line.elo:.0f}",
            )
        table.add_section()
    console.print(table, markup=False)  # teachers of a log may be called anything
    for ranking in [*rankings[1:], rankings[0]]:
        console.print(ranking.says, highlight=False, markup=False, soft_wrap=True)
        for circle in ranking.transitivity.sure:
            turn = " beats ".join((*circle, circle[0]))
            console.print(
                f"  surely a circle in {ranking.language}: {turn}.", highlight=False, markup=False
            )
    for item in variants:
        console.print(item.says, highlight=False, markup=False)
    console.print(
        "* = to be taken: the cheapest of those not separable from the leader, where costs are "
        "known. Intervals: 95 %, bootstrap over prompts, paired. B.-T.: Bradley-Terry strength. "
        "Elo: mean over 100 orders.",
        highlight=False,
    )


def add_to(router: typer.Typer) -> None:
    router.command()(rank)

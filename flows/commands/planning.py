"""plan and preview: what a run would ask and what comes back, before paying for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from arbitrage.config import load_config
from arbitrage.flows.commands.options import AsJson, ConfigPath, Overrides, print_json, wide_console

if TYPE_CHECKING:
    from arbitrage.infra.generation.plan import Plan

_OF_FILTERS = "[filters.NAME]: what is asked about all these answers, at most. "


def plan(
    config: ConfigPath,
    overrides: Overrides = None,
    seconds_per_request: Annotated[
        float, typer.Option(min=0.001, help="Assumed time of one request, for the hours.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Count prompts, requests, tokens, cost and time per teacher. Calls no teacher.

    Example: arbitrage plan run.toml --seconds-per-request 4
    """
    from arbitrage.flows.plan import plan_run

    planned = plan_run(load_config(config, overrides or []), seconds_per_request)
    if as_json:
        print_json(planned.to_json())
        return
    console = wide_console()
    console.print(
        f"{planned.prompts:,} prompts, {planned.unroutable:,} unroutable, "
        f"{planned.requests:,} requests, {planned.candidates:,} candidates\n",
        highlight=False,
    )
    for sentence in _exact(planned):
        console.print(sentence, highlight=False)
    console.print(_plan_table(planned))
    console.print(
        f"\n{_OF_FILTERS if planned.filters else ''}Prompt tokens are guessed from a sample, by "
        "script. Output tokens and USD: expected / "
        "at most, from recordings and from sampling.max_tokens; - = not bounded or not priced. "
        f"Hours assume {seconds_per_request:g} s a request.",
        highlight=False,
        markup=False,
    )


def _exact(planned: Plan) -> list[str]:
    """What select.exact lets foresee."""
    if not planned.exact:
        return []
    least = sum(item["least"] for item in planned.exact)
    wanted = sum(item["wanted"] for item in planned.exact)
    said = [
        f"select.exact: {wanted:,} are wanted. At least {least:,} prompts are asked, if every "
        "answer is accepted; at most what the table says, if every prompt is needed."
    ]
    said += [
        f"{item['language']} will be {item['short']:,} short of {item['wanted']:,}: there are "
        f"{item['prompts']:,} prompts in it."
        for item in planned.exact
        if item["short"]
    ]
    return [*said[:-1], f"{said[-1]}\n"]


def _plan_table(planned: Plan) -> Table:
    table = Table("teacher", box=None, pad_edge=False)
    for name in ("requests", "candidates", "prompt tokens", "output tokens", "USD", "hours"):
        table.add_column(name, justify="right")
    for teacher in [*planned.teachers, *planned.filters]:
        table.add_row(
            escape(teacher.name),
            f"{teacher.requests:,}",
            f"{teacher.candidates:,}",
            _two(teacher.prompt_tokens, teacher.prompt_tokens, ",d"),
            _two(teacher.expected_output_tokens, teacher.output_tokens, ",d"),
            _two(teacher.expected_cost_usd, teacher.cost_usd, ",.2f"),
            f"{teacher.hours:.2f}",
        )
    return table


def _two(expected: float | None, bound: float | None, form: str) -> str:
    """Expected and at most, one number where they are the same."""
    texts = ["-" if value is None else format(value, form) for value in (expected, bound)]
    return texts[0] if texts[0] == texts[1] else " / ".join(texts)


def preview(
    config: ConfigPath,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="How many prompts.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Take a few prompts through the whole way and show everything. Writes nothing.

    Example: arbitrage preview run.toml -n 5
    """
    from arbitrage.flows.explanation import show_prompt
    from arbitrage.flows.preview import preview_prompts

    explained = list(preview_prompts(load_config(config, overrides or []), count))
    if as_json:
        print_json([item.to_json() for item in explained])
        return
    console = wide_console()
    for item in explained:
        show_prompt(console, item)


def add_to(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(preview)

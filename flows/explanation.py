"""One prompt explained: its route, every candidate, score and verdict, and which was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from arbitrage.errors import unknown_name
from arbitrage.infra.store import open_run
from arbitrage.registry import filters as registry
from arbitrage.schema import GENERATED, VERDICTS

_SHOWN_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything known of one prompt.

    Attributes:
        prompt_id: the prompt.
        prompt: its PROMPTS row; None where it was never routed.
        route: its ROUTES row; None likewise.
        candidates: its rows of candidates/, in the order they were asked.
        buried: GRAVEYARD rows about it, with the details of failures.
    """

    prompt_id: str
    prompt: dict[str, Any] | None
    route: dict[str, Any] | None
    candidates: list[dict[str, Any]]
    buried: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def explain_prompt(run: str | Path, prompt_id: str) -> Explanation:
    """Collect what a finished run holds of one prompt; UnknownNameError where it holds nothing.

    Its shard is found by the ids of all prompts, and then only that shard is read, and all of the
    graveyard, where the same prompt may lie again: given twice, it was asked once.
    """
    opened = open_run(run)
    wanted = pl.col("prompt_id") == prompt_id
    shard = opened.shard_of(prompt_id)

    def rows(kind: str) -> list[dict[str, Any]]:
        if shard is None:
            return []
        return pl.DataFrame(opened.table(kind, shard)).filter(wanted).to_dicts()

    prompts = rows("prompts")
    buried = opened.graveyard.filter(wanted).collect(engine="streaming").to_dicts()
    if not prompts and not buried:
        known = opened.prompts.select("prompt_id").head(1000).collect()["prompt_id"].to_list()
        error = unknown_name("prompt of this run", prompt_id, known)
        raise type(error)(error.what, mend=f"Its prompts are in {run}/prompts.")
    routes = rows("routes")
    return Explanation(
        prompt_id=prompt_id,
        prompt=prompts[0] if prompts else None,
        route=routes[0] if routes else None,
        candidates=rows("candidates"),
        buried=buried,
    )


def show_prompt(console: Console, explained: Explanation) -> None:
    """Print an explanation for a person. Model text is escaped, and long text is cut."""
    if explained.prompt is None:
        for row in explained.buried:
            console.print(
                f"{explained.prompt_id} was never routed: {', '.join(row['reasons'])} "
                f"{row['detail'] or ''} ({row['origin'] or 'no origin'})",
                markup=False,
            )
        return
    prompt = explained.prompt
    turns = "\n".join(f"[bold]{m['role']}[/bold] {_cut(m['content'])}" for m in prompt["messages"])
    title = f"{escape(explained.prompt_id)} · wanted {escape(prompt['language'])}"
    console.print(Panel(turns, title=title, title_align="left"))
    if explained.route:
        console.print(_route(explained.route))
    details = {row["candidate_id"]: row["detail"] for row in explained.buried}
    for candidate in explained.candidates:
        console.print(_candidate(candidate, details.get(candidate["candidate_id"])))


def _route(route: dict[str, Any]) -> str:
    shares = zip(route["teachers"], route["probabilities"], strict=True)
    drawn = zip(route["drawn"], route["propensities"], strict=True)
    return (
        f"{route['router']}: {', '.join(f'{escape(name)} {share:.2f}' for name, share in shares)}\n"
        f"drawn: {', '.join(f'{escape(name)} (propensity {p:.2f})' for name, p in drawn)}, "
        f"{route['samples']} sample(s) each"
    )


def _candidate(candidate: dict[str, Any], detail: str | None) -> Panel:
    if candidate["error"]:
        state, colour = f"failed: {candidate['error']} {detail or ''}", "red"
    elif candidate["chosen"]:
        state, colour = "chosen", "green"
    elif candidate["kept"]:
        state, colour = "kept, not chosen", "blue"
    else:
        state, colour = f"rejected: {', '.join(candidate['reasons'])}", "yellow"
    scores = Table.grid(padding=(0, 2))
    for name in candidate:
        if name not in GENERATED.names and name not in VERDICTS.names:
            scores.add_row(escape(name), _score(candidate, name))
    body = Table.grid()
    body.add_row(_cut(candidate["text"] or ""))
    body.add_row(scores)
    title = f"{escape(candidate['teacher'])} #{candidate['sample_index']} · {escape(state)}"
    return Panel(body, title=title, title_align="left", border_style=colour)


def _score(candidate: dict[str, Any], column: str) -> str:
    """A score as people read it. A filter that measured and has no label found nothing to name: no
    earlier copy, no wrong line."""
    value = candidate[column]
    if value is not None:
        return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
    name, _, own = column.partition(".")
    if name not in registry.names() or own not in registry.get(name).plugin.labels:
        return "abstained"
    measures = (f"{name}.{measure}" for measure in registry.get(name).plugin.measures)
    return "abstained" if all(candidate.get(other) is None for other in measures) else "none"


def _cut(text: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " …"
    # Control characters in model text must not reach the terminal.
    return escape("".join(c for c in shown if c.isprintable() or c in "\n\t"))

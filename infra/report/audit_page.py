"""The audit of rewards as Markdown and as one HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jinja2

from arbitrage.infra.report.escaping import plain, prose

ALL = "all"
COLUMNS = (
    "",
    "pairs",
    "not measured",
    "ties",
    "accuracy",
    "95 %",
    "chosen longer",
    "chosen shorter",
    "rank correlation with length",
    "same verdict in both orders",
    "for the first shown",
)
NOTE = (
    "Accuracy: share of the pairs where the chosen answer gets more, a tie counts half; pairs that "
    "were not measured are left out. Chosen longer, shorter: accuracy on the pairs whose chosen "
    "answer has more or fewer characters. Rank correlation: Spearman's, of the differences in "
    "reward and in characters."
)


def audit_markdown(audit: Mapping[str, Any]) -> str:
    """Tables of a JSON-like audit (`arbitrage.flows.audit`): each reward by language, category and
    both, then the agreement of every two rewards."""
    lines = ["# Audit of rewards", "", f"{audit['pairs']:,} pairs. {NOTE}"]
    for heading, columns, rows in tables(audit):
        lines += ["", f"## {prose(heading)}", "", _row(columns), _row(["---"] * len(columns))]
        lines += [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def audit_html(audit: Mapping[str, Any]) -> str:
    """The same tables as a page; everything shown is escaped."""
    shown = [
        (plain(heading), columns, [list(map(plain, row)) for row in rows])
        for heading, columns, rows in tables(audit)
    ]
    return _template().render(pairs=f"{audit['pairs']:,}", note=NOTE, tables=shown)


def tables(audit: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Heading, column names and rows of text of each table."""
    for reward in audit["rewards"]:
        orders = "" if reward["orders"] == 2 else " (position bias: not applicable)"
        yield reward["reward"] + orders, list(COLUMNS), list(accuracy_rows(reward))
    if audit["agreement"]:
        columns = ["rewards", "language", "pairs", "same verdict", "kappa", "95 %"]
        yield "Agreement of rewards (Cohen's kappa)", columns, list(agreement_rows(audit))


def accuracy_rows(reward: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row for all pairs, each language, each category, and each category of a language."""
    yield _accuracy(ALL, reward[ALL])
    for part in ("languages", "categories"):
        if part == "languages" or len(reward[part]) > 1:
            yield from (_accuracy(name, found) for name, found in reward[part].items())
    if len(reward["languages"]) > 1 < len(reward["categories"]):
        for language, cells in reward["cells"].items():
            yield from (_accuracy(f"{language}, {name}", found) for name, found in cells.items())


def agreement_rows(audit: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row for every two rewards and language."""
    for item in audit["agreement"]:
        yield [
            f"{item['one']} / {item['other']}",
            item["language"],
            f"{item['pairs']:,}",
            share(item["agreement"]),
            number(item["kappa"]),
            interval(item["low"], item["high"], number),
        ]


def _accuracy(name: str, found: Mapping[str, Any]) -> list[str]:
    return [
        name,
        f"{found['pairs']:,}",
        f"{found['unmeasured']:,}",
        f"{found['ties']:,}",
        share(found["accuracy"]),
        interval(found["low"], found["high"], share),
        share(found["accuracy_longer"]),
        share(found["accuracy_shorter"]),
        number(found["spearman"]),
        share(found["same_both_orders"]),
        share(found["first_preferred"]),
    ]


def share(value: float | None) -> str:
    """A share in per cent.

    >>> share(0.625), share(None)
    ('62.5 %', '–')
    """
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """Two decimals with a sign."""
    return "–" if value is None else f"{value:+.2f}"


def interval(low: float | None, high: float | None, shown: Any) -> str:
    """Both ends as `shown` shows them."""
    return "–" if low is None or high is None else f"{shown(low)} .. {shown(high)}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(map(prose, cells)) + " |"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arbitrage.infra.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("audit.html.j2")

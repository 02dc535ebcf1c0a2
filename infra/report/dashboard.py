"""What an orchestrator's dashboard shows of a finished run: tables and pages under stable keys.

What is drawn and counted here stands in report.html too. Sizes are bounded whatever the run: what
is cut off is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.infra.report.counts import Counts
from arbitrage.infra.report.distributions import distributions, objective_of
from arbitrage.infra.report.drops import drops
from arbitrage.infra.report.escaping import plain, prose
from arbitrage.infra.report.heat_map import heat_map, left_out
from arbitrage.infra.report.histograms import histogram, said
from arbitrage.infra.report.measured import route_draws
from arbitrage.infra.report.outcome import Outcome
from arbitrage.infra.report.router_in_use import router_in_use
from arbitrage.infra.report.shard_files import megabytes, not_listed, shard_files, view_files
from arbitrage.infra.report.spending import Spending, spending
from arbitrage.infra.report.svg import image
from arbitrage.infra.report.table import code, table_rows

MOST_ROWS = 500
# A page of drawings: a server keeps them of every run, and a list of artifacts may fetch them all.
_MOST_CHARACTERS = 150_000
# One line: the dashboard breaks lines where the text does.
_LEGEND = (
    "Pale: all answers that did not fail; dark: those of them that were chosen. The line is the "
    "median of all. Each row is as high as its highest bar; the ends of the scale hold what lies "
    "beyond them, 0.5 % of all answers on either side."
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing to show: rows of a table, or Markdown. `about` is a line that names the run."""

    key: str
    about: str
    content: str | list[Row]


def shown(run: Path, manifest: Mapping[str, Any], address: str) -> list[Shown]:
    """Everything a dashboard shows of a finished run.

    Args:
        run: its folder on this machine.
        address: where others find it.
    """
    counts = Counts.from_json(manifest["counts"])
    name = plain(str(manifest["run_id"]))
    table, cut = _bounded(table_rows(counts, subtotals=len(counts.teachers) > 1))
    why, cut_why = _bounded([*_drop_rows(counts)])
    return [
        Shown("arbitrage-report", f"Report of {name}", _report(manifest, counts, address)),
        Shown("arbitrage-table", f"Language x teacher of {name}{cut}", table),
        Shown("arbitrage-drops", f"Why answers of {name} were lost{cut_why}", why),
        Shown("arbitrage-routing", f"Where prompts of {name} were sent", _routing(run)),
        Shown("arbitrage-scores", f"Scores of {name} by language", _scores(run, manifest)),
        Shown("arbitrage-teachers", f"Cost and speed of {name}", _teacher_rows(manifest)),
        Shown("arbitrage-router", f"Card of the router of {name}", router_in_use(manifest)),
        Shown("arbitrage-shards", f"Files of {name}", _files(manifest, address)),
    ]


def _report(manifest: Mapping[str, Any], counts: Counts, address: str) -> str:
    totals, outcome = manifest["totals"], Outcome.of(manifest)
    lines = [f"# {prose(str(manifest['run_id']))}", "", f"{code(address)}", ""]
    lines += [f"**{prose(outcome.sentence)}**", ""]
    lines += ["| | count |", "|---|--:|"]
    lines += [f"| {name} | {totals[name]:,} |" for name in _TOTALS if totals.get(name) is not None]
    if totals.get("cost_usd"):
        lines.append(f"| USD | {totals['cost_usd']:,.4g} |")
    for view in view_files(manifest):
        lines.append(f"| rows of {code(view.name)} | {view.candidates:,} |")
    lines += ["", "## What was lost most", ""]
    lost = drops(counts)[:_FEW]
    for drop in lost:
        where = prose(drop.where)
        lines.append(f"- {code(drop.reason)} {drop.count:,} ({drop.what}): {where}")
    lines += [] if lost else ["Nothing."]
    lines += ["", "## See also", "", *_MORE, ""]
    return "\n".join(lines)


_TOTALS = ("prompts", "unroutable", "requested", "kept", "chosen", "rejected", "failed")
_FEW = 5
# Below a run's page on the dashboard, under Artifacts; report.html in the run folder has all of it.
_MORE = (
    "- `arbitrage-table`: requested, kept, rejected, failed by language and teacher",
    "- `arbitrage-routing`: which teacher each language was sent to",
    "- `arbitrage-scores`: how rewards and scores are spread in each language",
    "- `arbitrage-drops`: every reason, and where it struck",
    "- `arbitrage-teachers`: cost in USD and tokens per second",
    "- `arbitrage-router`: the router's card",
    "- `arbitrage-shards`: the files; `report.html` among them shows all this, and samples",
)


def _routing(run: Path) -> str:
    draws = route_draws(run)
    drawn = heat_map(draws)
    if not drawn:
        return "No prompt was routed.\n"
    about = "Share of each language's draws that went to each teacher; light is much, dark little."
    return f"{about} {left_out(draws)}\n\n{image(drawn, 'routing shares')}\n"


def _scores(run: Path, manifest: Mapping[str, Any]) -> str:
    found = distributions(run, objective_of(manifest))
    if not found:
        return "Nothing was measured.\n"
    lines = [_LEGEND]
    for place, item in enumerate(found):
        drawn = image(histogram(item), item.measure)
        if sum(map(len, lines)) + len(drawn) > _MOST_CHARACTERS:
            rest = ", ".join(code(other.measure) for other in found[place:])
            lines += ["", f"Not drawn here, but in report.html: {rest}."]
            break
        lines += ["", f"## {prose(item.measure)}", "", said(item), "", drawn]
    return "\n".join(lines) + "\n"


def _drop_rows(counts: Counts) -> Iterator[Row]:
    for drop in drops(counts):
        yield {
            "reason": plain(drop.reason),
            "what": drop.what,
            "count": drop.count,
            "share": f"{drop.share:.1%}",
            "languages": drop.where,
        }


def _teacher_rows(manifest: Mapping[str, Any]) -> list[Row]:
    return [_teacher(item) for item in spending(manifest)[-MOST_ROWS:]]


def _teacher(item: Spending) -> Row:
    died = f" (died: {plain(item.died)})" if item.died else ""
    return {
        "teacher": plain(item.teacher) + died,
        "USD": item.cost_usd and float(f"{item.cost_usd:.4g}"),
        "tokens/s": item.tokens_per_s and round(item.tokens_per_s, 1),
        "s/request": item.request_s and round(item.request_s, 3),
        "requests": item.requests,
        "failed": item.failed,
        "output tokens": item.output_tokens,
        "seconds": round(item.seconds, 1),
    }


def _files(manifest: Mapping[str, Any], address: str) -> str:
    at = address.rstrip("/")
    lines = [f"Everything is in {code(at)}. {not_listed(manifest)}", ""]
    lines += [
        "| shard | prompts | candidates | size | file |",
        "|---|--:|--:|--:|---|",
    ]
    for shard in shard_files(manifest):
        path = next((p for p in shard.paths if p.startswith("candidates/")), "")
        cells = [code(shard.name), f"{shard.prompts:,}", f"{shard.candidates:,}"]
        lines.append(f"| {' | '.join([*cells, megabytes(shard.size), code(path)])} |")
    lines += ["", "| view | rows | size | folder |", "|---|--:|--:|---|"]
    for view in view_files(manifest):
        place = code(f"views/{view.name}")
        size = megabytes(view.size)
        lines.append(f"| {code(view.name)} | {view.candidates:,} | {size} | {place} |")
    lines += ["", f"For people: {code('report.html')}; for programs: {code('manifest.json')}."]
    return "\n".join(lines) + "\n"


def _bounded(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """At most MOST_ROWS rows, the last one among them, and what is said of the others."""
    if len(rows) <= MOST_ROWS:
        return list(rows), ""
    kept = [*rows[: MOST_ROWS - 1], rows[-1]]
    return kept, f"; {len(kept)} of {len(rows):,} rows, all are in manifest.json"

"""report.html: what ran, what became of every request, and what the scores say. Self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from arbitrage.infra.report.escaping import plain
from arbitrage.infra.report.facts import read_facts, run_facts, shown
from arbitrage.infra.report.figures import figures
from arbitrage.infra.report.measured import count_run, route_shares, samples
from arbitrage.infra.report.planned import amount, planned_rows
from arbitrage.infra.report.profile import Profile
from arbitrage.infra.report.rewards import model_rows, reward_rows, reward_sentences
from arbitrage.infra.report.table import rows
from arbitrage.infra.report.unknown import unknown_sentences


def render_report(run: Path, manifest: Mapping[str, Any] | None = None) -> str:
    """The report of a run folder as one HTML page without scripts or outside resources.

    Args:
        run: the run folder; scores, routes and samples are computed from its files.
        manifest: its content where manifest.json is not written yet; by default read from `run`.

    Everything shown is escaped, and text of models and prompts is isolated from the page's writing
    direction. Counts missing in the manifest are recounted from the files.
    """
    run = Path(run)
    manifest = read_facts(run) if manifest is None else manifest
    facts = run_facts(manifest, None if manifest.get("counts") else count_run(run))
    return _template().render(
        facts=facts,
        total=facts.counts.total(),
        unroutable=facts.counts.unroutable_total,
        rows=list(rows(facts.counts, subtotals=len(facts.counts.teachers) > 1)),
        profile=Profile.of(run),
        limits=manifest.get("limits", []),
        planned=planned_rows(manifest),
        shares=route_shares(run),
        unknown=unknown_sentences(manifest),
        rewards=reward_rows(manifest),
        models=model_rows(manifest),
        warnings=reward_sentences(manifest),
        samples=samples(run),
    )


def share(part: float, whole: float) -> float:
    """Per cent of the whole, 0 where there is none."""
    return 100 * part / whole if whole else 0.0


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arbitrage.infra.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "figure": figures, "shown": shown, "amount": amount}
    environment.globals["share"] = share
    return environment.get_template("report.html.j2")

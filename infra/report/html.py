"""report.html: what ran, what became of every request, and what the scores say. Self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from arbitrage.infra.report.continued import continued_sentences
from arbitrage.infra.report.cut import MOST_MEASURES, Cut, first
from arbitrage.infra.report.distributions import distributions, objective_of
from arbitrage.infra.report.drops import drops
from arbitrage.infra.report.escaping import plain
from arbitrage.infra.report.facts import read_facts, run_facts, shown
from arbitrage.infra.report.figures import figures
from arbitrage.infra.report.heat_map import heat_map, left_out
from arbitrage.infra.report.histograms import histogram, said
from arbitrage.infra.report.measured import count_run, route_draws, samples
from arbitrage.infra.report.planned import amount, planned_rows
from arbitrage.infra.report.profile import Profile
from arbitrage.infra.report.rewards import model_rows, reward_rows, reward_sentences
from arbitrage.infra.report.router_in_use import page_of, router_in_use
from arbitrage.infra.report.shard_files import megabytes, not_listed, shard_files, view_files
from arbitrage.infra.report.spending import spending
from arbitrage.infra.report.table import rows
from arbitrage.infra.report.unknown import unknown_sentences


def render_report(run: Path, manifest: Mapping[str, Any] | None = None) -> str:
    """The report of a run folder as one HTML page without scripts or outside resources.

    Its links lead to files of the run folder, beside which it lies.

    Args:
        run: the run folder; scores, routes and samples are computed from its files.
        manifest: its content where manifest.json is not written yet; by default read from `run`.

    Everything shown is escaped, and text of models and prompts is isolated from the page's writing
    direction. Counts missing in the manifest are recounted from the files. Of many languages,
    teachers, measures and shards those of most requests, or the first, are shown, and that is said.
    """
    run = Path(run)
    manifest = read_facts(run) if manifest is None else manifest
    facts = run_facts(manifest, None if manifest.get("counts") else count_run(run))
    cut = Cut.of(facts.counts)
    draws = route_draws(run)
    profile = Profile.of(run)
    return _template().render(
        facts=facts,
        cut=cut.said,
        total=facts.counts.total(),
        unroutable=facts.counts.unroutable_total,
        unrouted=first(list(facts.counts.unroutable.items())),
        rows=cut.rows(rows(facts.counts, subtotals=len(facts.counts.teachers) > 1)),
        profile=cut.profile(profile),
        more_measures=max(0, len(profile.measures) - MOST_MEASURES),
        limits=first(manifest.get("limits", [])),
        continued=continued_sentences(manifest),
        planned=planned_rows(manifest),
        drops=drops(facts.counts),
        spending=spending(manifest),
        routing=Markup(heat_map(draws)),  # noqa: S704 - escaped where it is drawn
        routing_left_out=left_out(draws),
        scores=[
            (item.measure, Markup(histogram(item)), said(item))  # noqa: S704
            for item in distributions(run, objective_of(manifest))
        ],
        router_card=Markup(page_of(router_in_use(manifest))),  # noqa: S704 - no HTML goes through
        shards=shard_files(manifest),
        view_files=view_files(manifest),
        not_listed=not_listed(manifest),
        unknown=first(unknown_sentences(manifest)),
        rewards=reward_rows(manifest),
        models=model_rows(manifest),
        warnings=reward_sentences(manifest),
        samples=[item for item in samples(run) if item.language in cut.languages],
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
    environment.filters["megabytes"] = megabytes
    environment.globals["share"] = share
    return environment.get_template("report.html.j2")

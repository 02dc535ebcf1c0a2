"""How a run ended, in a sentence: what was kept, and every way in which it fell short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arbitrage.answers import UNPAID
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.limits import shortfalls


@dataclass(frozen=True, slots=True)
class Outcome:
    """`kept` of `requested` candidates, and a sentence for each thing that is missing.

    >>> Outcome(812, 900, ("short: tr: 2 of 3 wanted",)).sentence
    'kept 812 of 900; short: tr: 2 of 3 wanted'
    """

    kept: int
    requested: int
    shortfalls: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Outcome:
        """From a finished run's manifest: the state of its flow run, and what the command line says
        before it exits with 3."""
        totals = manifest["totals"]
        return cls(totals["kept"], totals["requested"], tuple(_missing(manifest)))

    @property
    def sentence(self) -> str:
        return "; ".join((f"kept {self.kept:,} of {self.requested:,}", *self.shortfalls))


def _missing(manifest: Mapping[str, Any]) -> Iterator[str]:
    totals, asked = manifest["totals"], manifest["config"]["run"]
    for death in manifest.get("deaths", []):
        yield (
            f"dead teacher: {death['teacher']} ({death['reason']}): {death['rerouted']} of its "
            f"candidates were asked of others, {death['failed']} failed"
        )
    may_go_on = not manifest.get("decided_from")
    unasked = sum(cell["failures"].get(SPENT, 0) for cell in manifest["counts"]["cells"])
    if unasked:
        yield (
            f"budget: {_limits(asked)} is spent ({totals['cost_usd'] or 0:.4f} USD): {unasked} of "
            f"{totals['requested']} requested candidates were not asked for ({SPENT})"
            + (f"; run id {manifest['run_id']} with a larger one goes on" if may_go_on else "")
        )
    unscored = manifest.get("rewards", {}).get("unscored", {}).values()
    unpaid = sum(causes.get(cause, 0) for causes in unscored for cause in UNPAID)
    if unpaid:
        yield f"budget: {_limits(asked)} is spent: {unpaid} scores were not asked for, or in part"
    too_many = failed_share(totals["failed"], totals["requested"], asked["max_failed_share"])
    if too_many is not None:
        yield too_many
    yield from (f"short: {sentence}" for sentence in shortfalls(manifest))


def failed_share(failed: int, requested: int, tolerated: float) -> str | None:
    """A sentence where more failed than tolerated, or nothing was requested at all."""
    share = failed / requested if requested else 1.0
    if share <= tolerated:
        return None
    return (
        f"shortfall: {failed} of {requested} requested candidates failed "
        f"({share:.1%}, tolerated {tolerated:.1%}: run.max_failed_share)"
    )


def _limits(run: Mapping[str, Any]) -> str:
    names = ("budget_usd", "budget_tokens", "budget_requests")
    given = {name: run[name] for name in names if run.get(name) is not None}
    return ", ".join(f"run.{name} = {limit:g}" for name, limit in given.items())

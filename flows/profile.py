"""What a student of a run would inherit, as artifacts on Prefect's dashboard."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from arbitrage.flows.guard import guard_items
from arbitrage.infra.report.profile import Profile, markdown_profile
from arbitrage.infra.report.table import code
from arbitrage.infra.store import open_run
from arbitrage.reach import Reach, Reached


@flow(
    name="profile",
    description="Measure what a student of a finished run would inherit, by teacher and language.",
    flow_run_name="profile {run}",
)
def profile(run: str) -> None:
    """Profile a finished run folder; the tables become artifacts of this flow run."""
    guard_items([Reached("run", Reach.READ, run)])
    opened = open_run(run)
    found = Profile.of(opened.whole())
    name = opened.manifest["run_id"]
    create_markdown_artifact(
        f"# What a student of {code(name)} would inherit\n{markdown_profile(found)}",
        key="arbitrage-profile",
        description=f"Attributes by teacher and language of {name}",
    )
    create_table_artifact(
        found.to_json()["shifts"],
        key="arbitrage-shift",
        description=f"All candidates against the chosen ones of {name}",
    )

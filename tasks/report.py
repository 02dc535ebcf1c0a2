"""What Prefect's dashboard shows of a run: progress, table, report, and events to automate on."""

from __future__ import annotations

import time
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from arbitrage.infra.report.counts import Counts
from arbitrage.infra.report.table import markdown_table, table_rows
from arbitrage.infra.store import open_run
from arbitrage.tasks.away import server_may_be_away

# The progress artifact is for people: an update costs a call of the API, whatever the shards do.
_UPDATE_EVERY_S = 5.0


class RunProgress:
    """The progress artifact of a run and one event a committed shard."""

    def __init__(self, uri: str, shards: int) -> None:
        self._run_id = uri.rstrip("/").rsplit("/", 1)[-1]
        self._shards = shards
        self._done = 0
        self._updated = time.monotonic()
        artifact = create_progress_artifact(
            0.0, key="arbitrage-progress", description=f"Shards of {self._run_id} scored"
        )
        assert isinstance(artifact, UUID)  # called from synchronous code
        self._artifact = artifact

    def expect(self, shards: int) -> None:
        """So many shards more are to come."""
        self._shards += shards

    def advance(self) -> None:
        """Count one more scored shard."""
        self._done += 1
        emit_event(
            "arbitrage.shard.committed",
            resource=run_resource(self._run_id),
            payload={"done": self._done, "shards": self._shards},
        )
        now = time.monotonic()
        if now - self._updated >= _UPDATE_EVERY_S or self._done == self._shards:
            self._updated = now
            with server_may_be_away("showing its progress"):
                update_progress_artifact(self._artifact, 100.0 * self._done / self._shards)


# The run is published by now: patience with a server that restarts costs nothing.
@task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[5, 30, 60])
def report_run(uri: str, address: str | None = None) -> None:
    """Publish the language x teacher table and the report of a finished run, and say it is done.

    `address` is where others find the run, by default `uri`.
    """
    address = address or uri
    manifest = open_run(uri).manifest
    counts = Counts.from_json(manifest["counts"])
    create_table_artifact(
        table_rows(counts),
        key="arbitrage-table",
        description=f"Language x teacher of {manifest['run_id']}",
    )
    create_markdown_artifact(
        f"# {manifest['run_id']}\n\n`{address}`\n\n{markdown_table(counts)}",
        key="arbitrage-report",
        description=f"Report of {manifest['run_id']}",
    )
    emit_event(
        "arbitrage.run.finished",
        resource=run_resource(manifest["run_id"]),
        payload={"run": address, "totals": manifest["totals"]},
    )


def run_resource(run_id: str) -> dict[str, str]:
    """The Prefect resource that events of a run are about."""
    return {"prefect.resource.id": f"arbitrage.run.{run_id}", "prefect.resource.name": run_id}

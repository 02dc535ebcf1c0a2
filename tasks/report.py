"""What Prefect's dashboard shows of a run: progress, tables, pages, and events to automate on."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import Self
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
from prefect.exceptions import ObjectNotFound

from arbitrage.infra.progress import board
from arbitrage.infra.report.dashboard import shown
from arbitrage.infra.report.outcome import Outcome
from arbitrage.infra.store import open_run
from arbitrage.tasks.away import server_may_be_away

# The progress artifact is for people: an update costs a call of the API, whatever the shards do.
_UPDATE_EVERY_S = 5.0
# Of the way: deciding, views and publishing are the rest, and short.
_SCORED_PERCENT = 95.0


class RunProgress:
    """The progress artifact of a run, kept up to date while the context lasts, and one event a
    committed shard.

    At 100 the run is finished. One that ended otherwise stays where it was, and says in which step.
    """

    def __init__(self, uri: str) -> None:
        self._run_id = uri.rstrip("/").rsplit("/", 1)[-1]
        self._shards = self._done = 0
        self._finished = ""
        self._ended = threading.Event()
        self._told: tuple[float, str] = (0.0, self._sentence())
        artifact = create_progress_artifact(0.0, "arbitrage-progress", self._told[1])
        assert isinstance(artifact, UUID)  # called from synchronous code
        self._artifact = artifact
        run = copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._watch,), name="progress-artifact", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._tell()

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

    def pass_over(self, shards: int) -> None:
        """Count shards that an earlier process of the run has scored; it has told of them."""
        self._done += shards

    def finish(self, outcome: Outcome) -> None:
        """The run is published; nothing more is to come."""
        self._finished = f"{self._run_id}: finished, {outcome.sentence}"

    def _watch(self) -> None:
        while not self._ended.wait(_UPDATE_EVERY_S):
            self._tell()

    def _tell(self) -> None:
        """Update the artifact where there is news. A server that is away does not end the run."""
        share = self._done / self._shards if self._shards else 0.0
        percent = 100.0 if self._finished else round(_SCORED_PERCENT * share, 1)
        news = (percent, self._finished or self._sentence())
        if news == self._told:
            return
        # Somebody may have deleted it on the dashboard, and wants no more of it.
        with server_may_be_away("showing its progress"), suppress(ObjectNotFound):
            update_progress_artifact(self._artifact, *news)
            self._told = news

    def _sentence(self) -> str:
        """What the run does now, in words and counts."""
        now = board.read()
        stage = f"ended while {now.stage}" if self._ended.is_set() else now.stage
        parts = [f"{self._run_id}: {stage}"]
        if self._shards:
            parts.append(f"{self._done:,} of {self._shards:,} shards scored")
        if now.requested:
            failed = f", {now.failed:,} of them failed" if now.failed else ""
            parts.append(f"{now.finished:,} of {now.requested:,} answers{failed}")
        return "; ".join(parts)


# The run is published by now: patience with a server that restarts costs nothing.
@task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[5, 30, 60])
def report_run(uri: str, address: str | None = None) -> None:
    """Publish the tables and pages of a finished run, and say it is done.

    `address` is where others find the run, by default `uri`.
    """
    address = address or uri
    run = open_run(uri)
    # Relative to the worker's folder, which nobody at the dashboard knows.
    whole = address if "://" in address else str(Path(address).absolute())
    for item in shown(run.path, run.manifest, whole):
        if isinstance(item.content, str):
            create_markdown_artifact(item.content, item.key, item.about)
        else:
            create_table_artifact(item.content, item.key, item.about)
    emit_event(
        "arbitrage.run.finished",
        resource=run_resource(run.manifest["run_id"]),
        payload={"run": address, "totals": run.manifest["totals"]},
    )


def run_resource(run_id: str) -> dict[str, str]:
    """The Prefect resource that events of a run are about."""
    return {"prefect.resource.id": f"arbitrage.run.{run_id}", "prefect.resource.name": run_id}

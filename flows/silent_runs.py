"""The automation that ends, on Prefect's pages, the runs whose process ended without a word.

A worker notices when its flow's process dies. When the worker's machine dies too, nobody does: the
run stays `Running` on every page, and no notification comes. Flows send heartbeats
(`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`), and this marks as `Crashed` a run that has stopped.

Source: Prefect's guide "How to detect and respond to zombie flows".
"""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import Automation, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState

AUTOMATION = "arbitrage: a run has gone silent"
# A run waits about four minutes for a server that is away, and sends no heartbeat meanwhile.
SILENT_FOR = timedelta(minutes=5)
_MESSAGE = (
    f"Nothing was heard of its process for {SILENT_FOR.seconds // 60} minutes. What it had "
    "finished is saved; the same deployment with the same parameters continues it."
)


def crash_silent_runs(client: SyncPrefectClient) -> None:
    """Make or renew the automation."""
    for old in client.read_automations_by_name(AUTOMATION):
        client.delete_automation(old.id)
    Automation(
        name=AUTOMATION,
        description=f"Marks a run as Crashed when its heartbeats have stopped for {SILENT_FOR}.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            # Any word of it, whatever its state is called.
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "tag",
                "prefect.resource.id": "prefect.tag.arbitrage",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT_FOR,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=_MESSAGE)],
    ).create()
    print(f'automation "{AUTOMATION}"')

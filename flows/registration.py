"""Register what infra/prefect.yaml names: `python -m arbitrage.flows.registration FILE`.

Work pools, a global concurrency limit per teacher and the notification automation are made or
brought up to date first; `prefect deploy --all` does the rest. May be run again at any time.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.automations import Automation, EventTrigger, Posture, SendNotification
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from arbitrage.errors import ConfigError
from arbitrage.flows.patience import ServerAwayError, call, patiently
from arbitrage.flows.silent_runs import crash_silent_runs
from arbitrage.tasks.limits import limit_name
from arbitrage.tasks.states import SHORTFALL

NOTIFY = "ARBITRAGE_NOTIFY_URL"
AUTOMATION = "arbitrage: a run failed or fell short"
# Whoever fills in the form may not choose the command, the environment or the folder of a worker.
_NOT_FOR_THE_FORM = ("command", "env", "working_dir")
_BAD_ENDS = ("Failed", "Crashed", "TimedOut", SHORTFALL)


def register(file: Path) -> None:
    """Register everything; says what, one line each.

    A server that is slow to answer is waited for (`patiently`); ServerAwayError after that.
    """
    content = yaml.safe_load(file.read_text("utf-8"))
    patiently(lambda: _prepare(content), "pools, limits, automations")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    patiently(lambda: call([*command, "--prefect-file", str(file)]), "deployments")
    for item in content["deployments"]:
        print(f"deployment {item['entrypoint'].rpartition('.')[2]}/{item['name']}")


def _prepare(content: dict[str, Any]) -> None:
    """Make what deployments need, or bring it up to date."""
    with get_client(sync_client=True) as client:
        for pool in pools(content):
            make_pool(client, pool)
            print(f"work pool {pool}")
        for name, slots in teacher_limits(content).items():
            client.upsert_global_concurrency_limit_by_name(name, slots)
            print(f"global concurrency limit {name}: {slots} shards at a time")
        notify(client, os.environ.get(NOTIFY, ""))
        crash_silent_runs(client)


def pools(content: dict[str, Any]) -> list[str]:
    """Work pools that the deployments name."""
    return sorted({item["work_pool"]["name"] for item in content["deployments"]})


def teacher_limits(content: dict[str, Any]) -> dict[str, int]:
    """Name of the limit -> shards that may ask the teacher at the same time, over all runs."""
    slots: dict[str, int] = content.get("definitions", {}).get("shards_per_teacher", {})
    return {limit_name(teacher): count for teacher, count in slots.items()}


def make_pool(client: SyncPrefectClient, name: str) -> None:
    """A process pool whose job variables are none that run code; another kind of pool stays.

    On a cluster, `prefect work-pool create NAME --type kubernetes` comes first.
    """
    template = restricted(ProcessWorker.get_default_base_job_template())
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template)
        )
        return
    if pool.type == "process":
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def restricted(template: dict[str, Any]) -> dict[str, Any]:
    """A base job template without the variables by which a run could choose what is executed."""
    variables = template["variables"]["properties"].items()
    configuration = template["job_configuration"].items()
    return {
        "variables": {
            **template["variables"],
            "properties": {k: v for k, v in variables if k not in _NOT_FOR_THE_FORM},
        },
        "job_configuration": {k: v for k, v in configuration if k not in _NOT_FOR_THE_FORM},
    }


def notify(client: SyncPrefectClient, url: str) -> None:
    """The automation that posts to `url` when a run failed or fell short; none without a url."""
    for old in client.read_automations_by_name(AUTOMATION):
        client.delete_automation(old.id)
    if not url:
        print(f"no notification: {NOTIFY} is not set")
        return
    block = CustomWebhookNotificationBlock(
        name="arbitrage", url=url, json_data={"subject": "{{subject}}", "text": "{{body}}"}
    )
    document = block.save("arbitrage-notify", overwrite=True)
    Automation(
        name=AUTOMATION,
        description="Posts to the notification block arbitrage-notify.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in _BAD_ENDS},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "tag",
                "prefect.resource.id": "prefect.tag.arbitrage",
            },
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            SendNotification(
                block_document_id=document,
                subject="{{ flow_run.name }}: {{ flow_run.state.name }}",
                body="{{ flow_run.state.message }}\n{{ flow_run | ui_url }}",
            )
        ],
    ).create()
    print(f'automation "{AUTOMATION}"')


def main() -> None:
    """Register the file named on the command line."""
    try:
        register(Path(sys.argv[1]))
    except (ConfigError, ServerAwayError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

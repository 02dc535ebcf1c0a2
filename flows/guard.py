"""Before anything of a deployment's run runs: does the worker's policy allow what it asks for?

Runs of the command line, on a person's own shell, are not limited.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prefect import get_client
from prefect.context import FlowRunContext
from prefect.runtime import deployment

from arbitrage.config import RunConfig
from arbitrage.config.allowed import check_allowed
from arbitrage.config.implied import implied_policy
from arbitrage.config.policy import VARIABLE, Policy, load_policy, policy_file
from arbitrage.config.reached import reached
from arbitrage.errors import ConfigError
from arbitrage.reach import Reach, Reached
from arbitrage.routers.meaning import reached_by_card
from arbitrage.secrets import keep_out_of_logs


def guard(config: RunConfig, run_id: str | None = None, *, calibrates: bool = False) -> None:
    """PolicyError where this is a deployment's run and its config reaches beyond the policy.

    Args:
        run_id: a run folder that is there already may be a link.
        calibrates: the flow replaces the router's artefact.
    """
    items = list(reached(config))
    if run_id is not None and not config.run.output.startswith("s3://"):
        items.append(Reached("run_id", Reach.WRITE, f"{config.run.output}/{run_id}"))
    if calibrates:
        for item in list(items):
            if item.place in {"router.artefact", "calibrate.artefact"}:
                items.append(Reached(item.place, Reach.WRITE, item.value))
                items += reached_by_card(Path(item.value), item.place)
    guard_items(items)


def guard_items(items: Iterable[Reached]) -> None:
    """The same for what a flow without a config reaches."""
    keep_out_of_logs()
    if FlowRunContext.get() is None:
        return
    own = deployment.id
    if own is None:
        return
    file = policy_file()
    if file is not None:
        check_allowed(load_policy(file), items, f'the policy "{file}"')
        return
    says = f"what the deployment itself names (the worker has no policy, {VARIABLE} is not set)"
    check_allowed(_of_deployment(str(own)), items, says)


def _of_deployment(own: str) -> Policy:
    """What the deployment's registered parameters reach; nothing where they are no whole config."""
    with get_client(sync_client=True) as client:
        parameters = client.read_deployment(own).parameters or {}
    try:
        return implied_policy(reached(RunConfig.model_validate(parameters.get("config"))))
    except (ValueError, ConfigError):
        return Policy()

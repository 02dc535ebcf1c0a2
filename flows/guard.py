"""Before anything of a deployment's run runs: does the worker's policy allow what it asks for?

Runs of the command line, on a person's own shell, are not limited.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path

from prefect import get_client
from prefect.context import FlowRunContext
from prefect.runtime import deployment

from arbitrage import reach
from arbitrage.config import RunConfig
from arbitrage.config.allowed import check_allowed
from arbitrage.config.implied import implied_policy
from arbitrage.config.policy import VARIABLE, Policy, load_policy, policy_file
from arbitrage.config.reached import named, named_in_files, reached
from arbitrage.errors import ConfigError
from arbitrage.reach import Reach, Reached
from arbitrage.routers.artefact import CARD
from arbitrage.routers.meaning import reached_by_card
from arbitrage.secrets import keep_out_of_logs

# Whether a deployment's own parameters are being read, which may name what they like.
_its_own: ContextVar[bool] = ContextVar("_its_own", default=False)


def guard(config: RunConfig, run_id: str | None = None, *, calibrates: bool = False) -> None:
    """PolicyError where this is a deployment's run and its config reaches beyond the policy.

    Args:
        run_id: a run folder that is there already may be a link.
        calibrates: the flow replaces the router's artefact.
    """
    items = list(named(config))
    if run_id is not None and not config.run.output.startswith("s3://"):
        items.append(Reached("run_id", Reach.WRITE, f"{config.run.output}/{run_id}"))
    cards: list[Reached] = []
    if calibrates:
        for item in list(items):
            if item.place in {"router.artefact", "calibrate.artefact"}:
                items.append(Reached(item.place, Reach.WRITE, item.value))
                cards.append(item)
    guard_items(items)
    # Opened only once that is allowed.
    guard_items([*named_in_files(config), *(found for card in cards for found in _in_card(card))])


def _in_card(artefact: Reached) -> list[Reached]:
    try:
        card = (Path(artefact.value) / CARD).read_bytes()
    except OSError:  # none yet, or nothing that could be used
        return []
    return list(reached_by_card(card, artefact.place))


def guard_items(items: Iterable[Reached]) -> None:
    """The same for what a flow without a config reaches."""
    keep_out_of_logs()
    own = None if _its_own.get() else _deployment()
    if own is None:
        return
    file = policy_file()
    if file is not None:
        check_allowed(load_policy(file), items, f'the policy "{file}"')
        return
    says = f"what the deployment itself names (the worker has no policy, {VARIABLE} is not set)"
    check_allowed(_of_deployment(own), items, says)


def _deployment() -> str | None:
    """The deployment that this process runs a run of, None where it does not."""
    # A worker tells the process it starts by this variable; parameters are validated, and files
    # they name opened, before there is a context.
    if FlowRunContext.get() is None and not os.environ.get("PREFECT__FLOW_RUN_ID"):
        return None
    own = deployment.id
    return None if own is None else str(own)


def _guard_one(item: Reached) -> None:
    guard_items([item])


reach.check_opening = _guard_one


def _of_deployment(own: str) -> Policy:
    """What the deployment's registered parameters reach; nothing where they are no whole config."""
    with get_client(sync_client=True) as client:
        parameters = client.read_deployment(own).parameters or {}
    token = _its_own.set(True)
    try:
        return implied_policy(reached(RunConfig.model_validate(parameters.get("config"))))
    except (ValueError, ConfigError):
        return Policy()
    finally:
        _its_own.reset(token)

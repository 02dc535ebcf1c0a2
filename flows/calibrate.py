"""The other flow: prompts -> all teachers -> score -> fit router -> evaluate -> artefact in use."""

from __future__ import annotations

from contextlib import closing

from prefect import flow

from arbitrage.config import RunConfig
from arbitrage.filters.independence import check_rewards
from arbitrage.flows.distill import distill
from arbitrage.flows.guard import guard
from arbitrage.infra.interrupt import raise_if_stopping, stopping_on_signals
from arbitrage.infra.store import calibration
from arbitrage.infra.store.calibration import open_calibration
from arbitrage.tasks.calibrate import choose_prompts, draw_prompts, fit_router, labelling, settle
from arbitrage.tasks.labelling import calibration_identity


@flow(
    name="calibrate",
    description="Have all teachers answer some prompts, fit a router, use it if it is not worse.",
    flow_run_name="calibrate {config.run.name}",
    persist_result=True,
    result_serializer="json",
)
def calibrate(config: RunConfig, run_id: str | None = None, new: bool = False) -> str:
    """Calibrate a config's router and return the calibration's folder.

    An unfinished calibration of the same config, or the one named by `run_id`, is continued: what
    was answered is not asked again. Its two runs are runs of `distill`, each whole and readable.
    """
    guard(config, run_id, calibrates=True)
    check_rewards(config)
    opened = open_calibration(config, calibration_identity(config), run_id, new=new)
    uri = str(opened.path)
    if opened.how == "finished":
        return uri
    with closing(opened), stopping_on_signals():
        draw_prompts(uri)
        ask(uri, calibration.RANDOM)
        if choose_prompts(uri):
            ask(uri, calibration.CHOSEN)
        fit_router(uri)
        settle(uri)
    return uri


def ask(uri: str, part: str) -> None:
    """Have all teachers answer one part's prompts, as far as the budget goes."""
    raise_if_stopping()
    config = labelling(uri, part)
    if config is not None:
        distill(config, run_id=part)

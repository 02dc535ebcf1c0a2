"""Calibrate: stage prompts, fit on what they earned, decide, and put the artefact in use."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from arbitrage.config import RunConfig
from arbitrage.infra.progress import board
from arbitrage.infra.report.router_card import render_router_card
from arbitrage.infra.sources import read_prompts, source_options
from arbitrage.infra.sources.sample import sample_prompts
from arbitrage.infra.store import FinishedRun, calibration, open_run
from arbitrage.infra.store.calibration import calibration_config
from arbitrage.infra.store.files import Folder
from arbitrage.routers.artefact import CARD, read_card
from arbitrage.routers.contest import contest, judged, summary_of
from arbitrage.routers.fit import fit_artefact
from arbitrage.routers.promotion import PAGE, model_in, promote, with_checksum
from arbitrage.routers.reward_log import read_reward_log
from arbitrage.tasks.labelling import (
    check_in_use,
    costs_of,
    first_choice,
    identities_of,
    labelling_config,
    second_choice,
    settled,
)
from arbitrage.tasks.policy import worth_retrying
from arbitrage.tasks.rewards import Reward, reward_log_table, used_of

_ROWS_AT_ONCE = 10_000


@task(
    retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=worth_retrying, cache_policy=NO_CACHE
)
def draw_prompts(uri: str) -> int:
    """Stage what is chosen from and the prompts drawn at random; returns how many these are."""
    folder, config = Folder(uri), calibration_config(uri)
    check_in_use(config)
    name = f"{calibration.RANDOM}.parquet"
    if not folder.exists(name):
        asked = settled(config)
        options = source_options(config)
        chunks = read_prompts(config.prompts, chunk_rows=_ROWS_AT_ONCE, storage_options=options)
        pool = sample_prompts(chunks, asked.pool, config.run.seed)
        folder.write_table(calibration.POOL, pool)
        write_parquet(folder, name, first_choice(pool, asked, config.run.seed))
    return int(pq.read_metadata(folder / name).num_rows)


@task(
    retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=worth_retrying, cache_policy=NO_CACHE
)
def choose_prompts(uri: str) -> int:
    """Stage the prompts chosen after the first answers; returns how many these are."""
    folder, config = Folder(uri), calibration_config(uri)
    name = f"{calibration.CHOSEN}.parquet"
    if not folder.exists(name):
        board.enter("choosing prompts")
        write_rewards(folder, config, [calibration.RANDOM])
        log = read_reward_log(folder / calibration.REWARDS)
        pool = folder.read_table(calibration.POOL)
        write_parquet(folder, name, second_choice(pool, log, settled(config), config.run.seed))
    return int(pq.read_metadata(folder / name).num_rows)


@task(
    retries=2, retry_delay_seconds=[2, 10], retry_condition_fn=worth_retrying, cache_policy=NO_CACHE
)
def fit_router(uri: str) -> None:
    """Fit on every reward, judge against the artefact in use, and write down what is decided."""
    folder, config = Folder(uri), calibration_config(uri)
    asked, parts = settled(config), answered(folder)
    kind, place = str(asked.kind), Path(str(asked.artefact))
    decision = _decision(folder)
    if decision is not None and _checksum(place) in (decision["in_use"], decision["sha256"]):
        return
    board.enter("fitting")
    write_rewards(folder, config, parts)
    log = read_reward_log(folder / calibration.REWARDS)
    in_use = model_in(place)
    drawn = _drawn_at_random(folder)
    at_random = np.array([key in drawn for key in log.prompts.prompt_ids], dtype=np.bool_)
    seed = config.run.seed
    found = judged(log, kind, in_use=in_use and in_use[0], at_random=at_random, seed=seed)
    verdict = contest(found, kind, max_loss=asked.max_loss, min_reward=asked.min_reward)
    card = fit_artefact(
        log,
        folder / calibration.ARTEFACT,
        kind=kind,
        seed=seed,
        metrics=summary_of(found),
        costs=costs_of(config),
        identities=identities_of(config),
    )
    content = {
        **verdict.to_json(),
        "sha256": card["sha256"],
        "in_use": _checksum(place),
        "notes": list(log.notes),
    }
    page = render_router_card(card, content)
    folder.write_bytes(f"{calibration.ARTEFACT}/{PAGE}", page.encode("utf-8", "replace"))
    folder.write_json(calibration.DECISION, content)


@task(cache_policy=NO_CACHE)
def settle(uri: str) -> None:
    """Put the artefact in use where that was decided, say so, and finish the calibration."""
    folder, config = Folder(uri), calibration_config(uri)
    asked, decision = settled(config), folder.read_json(calibration.DECISION)
    place, new = Path(str(asked.artefact)), folder / calibration.ARTEFACT
    before = decision["in_use"] if decision["promoted"] else None
    if decision["promoted"]:
        promote(new, place)
    # Looked up, not what `promote` returned: a resumed calibration may find it done already.
    kept = None if before in (None, decision["sha256"]) else with_checksum(place, before)
    runs = _runs(folder)
    content = {
        "calibration": folder.root.name,
        "promoted": decision["promoted"],
        "why": decision["why"],
        "artefact": str(place),
        "earlier": None if kept is None else str(kept),
        "kind": asked.kind,
        "reward": asked.reward,
        "comparison": decision,
        "asked_for": asked.prompts,
        "prompts": {name: run.manifest["totals"]["prompts"] for name, run in runs.items()},
        "requested": sum(run.manifest["totals"]["requested"] for run in runs.values()),
        "failed": sum(run.manifest["totals"]["failed"] for run in runs.values()),
        "used": used_of(list(runs.values())),
        "metrics": read_card(new)["metrics"],
    }
    page = (new / PAGE).read_text(encoding="utf-8")
    create_markdown_artifact(
        page, key="arbitrage-calibration", description=f"What {folder.root.name} found"
    )
    if decision["promoted"]:
        emit_event(
            "arbitrage.router.promoted",
            resource={
                "prefect.resource.id": f"arbitrage.router.{decision['sha256'][:16]}",
                "prefect.resource.name": str(place),
            },
            payload={"artefact": str(place), "why": decision["why"], "earlier": content["earlier"]},
        )
    folder.write_json(calibration.FINISHED, content)
    folder.remove(calibration.POOL)


def labelling(uri: str, part: str) -> RunConfig | None:
    """The config of one of a calibration's runs; None where no budget is left for it."""
    folder, config = Folder(uri), calibration_config(uri)
    before = [open_run(folder / calibration.RANDOM)] if part == calibration.CHOSEN else []
    return labelling_config(config, folder.root, part, used_of(before))


def write_rewards(folder: Folder, config: RunConfig, parts: list[str]) -> None:
    """Write the reward log of these runs of a calibration."""
    asked = settled(config)
    runs = {name: open_run(folder / name) for name in parts}
    table = reward_log_table(
        runs, cast("Reward", asked.reward), rejected_reward=asked.rejected_reward, config=config
    )
    write_parquet(folder, calibration.REWARDS, table)


def write_parquet(folder: Folder, name: str, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    folder.write_bytes(name, buffer.getvalue())


def answered(folder: Folder) -> list[str]:
    """The runs of a calibration that are finished."""
    parts = (calibration.RANDOM, calibration.CHOSEN)
    return [name for name in parts if folder.exists(f"{name}/manifest.json")]


def _runs(folder: Folder) -> dict[str, FinishedRun]:
    return {name: open_run(folder / name) for name in answered(folder)}


def _drawn_at_random(folder: Folder) -> set[str]:
    table = pq.read_table(folder / f"{calibration.RANDOM}.parquet", columns=["prompt_id"])
    return set(table["prompt_id"].to_pylist())


def _decision(folder: Folder) -> dict[str, Any] | None:
    path = folder / calibration.DECISION
    return orjson.loads(path.read_bytes()) if path.exists() else None


def _checksum(place: Path) -> str | None:
    return str(read_card(place)["sha256"]) if (place / CARD).exists() else None

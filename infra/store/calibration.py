"""The folder of a calibration: two runs, the rewards they gave, the artefact, and what was decided.

OUTPUT/ID/started.json         config and identity
          pool.arrow           what is chosen from; gone once it is finished
          random.parquet       prompts drawn at random      random/   the run that asked them
          chosen.parquet       prompts chosen after that    chosen/   the run that asked them
          rewards.parquet      the reward log
          artefact/            router.npz, card.json, card.md
          decision.json        the comparison, written before anything is replaced
          calibration.json     the end: what became of it
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from arbitrage.config import RunConfig
from arbitrage.errors import RunConflictError
from arbitrage.infra.store.begin import How, checked_id, output_folder
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock

STARTED, POOL, FINISHED = "started.json", "pool.arrow", "calibration.json"
REWARDS, ARTEFACT, DECISION = "rewards.parquet", "artefact", "decision.json"
RANDOM, CHOSEN = "random", "chosen"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration held for writing (`lock` is None for a finished one)."""

    path: Path
    how: How
    lock: RunLock | None

    def close(self) -> None:
        if self.lock is not None:
            self.lock.release()


def foresee_calibration(
    config: RunConfig, identity: str, run_id: str | None = None, *, new: bool = False
) -> tuple[How, Path]:
    """What `open_calibration` would do, and with which folder. Writes nothing; raises the same."""
    output = output_folder(config)
    if run_id is None:
        begun = (
            []
            if new
            else [
                (started["started_at"], place.parent)
                for place in output.glob(f"*/{STARTED}")
                if not (place.parent / FINISHED).exists()
                and (started := _started(place.parent)) is not None
                and started["identity"] == identity
            ]
        )
        return ("continued", max(begun)[1]) if begun else ("new", _fresh(output, config.run.name))
    path = output / checked_id(run_id)
    started = _started(path)
    if started is None:
        if path.is_dir() and any(path.iterdir()):
            raise RunConflictError(
                f'"{path}" holds files that are no calibration.',
                mend="Choose another --run-id or output.",
            )
        return "new", path
    if new:
        raise RunConflictError(
            f'the calibration "{path}" exists already.',
            mend="Choose another --run-id or leave out --new.",
        )
    if started["identity"] != identity:
        raise RunConflictError(
            f'the calibration "{run_id}" was made by another config.',
            mend="Choose another --run-id.",
        )
    return ("finished" if (path / FINISHED).exists() else "continued"), path


def open_calibration(
    config: RunConfig, identity: str, run_id: str | None = None, *, new: bool = False
) -> Calibration:
    """Open the folder of a calibration, as `open_run_folder` does that of a run."""
    how, path = foresee_calibration(config, identity, run_id, new=new)
    if how == "finished":
        return Calibration(path, how, None)
    folder = Folder(path)
    folder.make()
    lock = RunLock(folder)
    lock.acquire()
    try:
        begun = _started(path) or {
            "identity": identity,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # Addresses and limits may differ from the first time: the newest count.
        folder.write_json(STARTED, {**begun, "config": config.resolved()})
    except BaseException:
        lock.release()
        raise
    return Calibration(path, how, lock)


def calibration_config(uri: str) -> RunConfig:
    """The config a calibration was started with."""
    return RunConfig.model_validate(Folder(uri).read_json(STARTED)["config"])


def _started(path: Path) -> dict[str, Any] | None:
    try:
        started: dict[str, Any] = orjson.loads((path / STARTED).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    return started


def _fresh(output: Path, name: str) -> Path:
    stem = f"{name}-calibration-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, number = output / stem, 2
    while path.exists():
        path, number = output / f"{stem}-{number}", number + 1
    return path

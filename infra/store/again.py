"""A finished run as the start of another: its generated part linked, its decisions left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import Opened, open_run_folder
from arbitrage.infra.store.files import link_or_copy
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.open import FinishedRun
from arbitrage.infra.store.run import Run
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.schema import GRAVEYARD, conform


def check_same_generation(finished: FinishedRun, config: RunConfig) -> None:
    """ConfigError where the new config asks for other candidates than the run holds."""
    manifest = finished.manifest
    old, new = manifest["config"], config.resolved()
    teachers = [(teacher.identity, teacher.params_hash) for teacher in config.teachers]
    asked = {
        "prompts": _asked_of(old["prompts"]) == _asked_of(new["prompts"]),
        "router": old["router"] == new["router"],
        "run": all(old["run"][key] == new["run"][key] for key in ("seed", "samples")),
        "teachers": [(t["identity"], t["params_hash"]) for t in manifest["teachers"]] == teachers,
    }
    differing = [f"[{section}]" for section, same in asked.items() if not same]
    if differing:
        raise ConfigError(
            f"the config differs from the run's in {', '.join(differing)}, which would need other "
            "candidates.",
            mend="Change only [filters], [select] and [views], or start with `arbitrage run`.",
        )


def _asked_of(prompts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in prompts.items() if key != "storage"}


def begin_again(
    finished: FinishedRun, config: RunConfig, *, run_id: str | None, in_place: bool
) -> Opened:
    """Open the folder of the re-decided run: beside the finished one, or staged inside it."""
    name = finished.path.name
    if not in_place:
        output = finished.output
        return open_run_folder(config, run_id, new=True, output=output, decided_from=name)
    if isinstance(finished.output, S3Place):
        raise ConfigError(
            f'"{finished.address}" is in an object store, where readers would meet old and new '
            "decisions mixed.",
            mend="Leave out --in-place: the new run stands beside the old one.",
        )
    lock = RunLock(finished.folder)
    lock.acquire()
    try:
        finished.folder.remove(layout.STAGED)
        earlier = finished.manifest["decided_from"]
        staged = finished.folder / layout.STAGED
        opened = open_run_folder(config, name, new=True, output=staged, decided_from=earlier)
        if opened.lock is not None:
            opened.lock.release()  # the lock of the run around it holds for both
    except BaseException:
        lock.release()
        raise
    return Opened(opened.path, "new", lock)


def stage_shard(finished: FinishedRun, run: Run, shard: int) -> None:
    """Link prompts and routes, and keep what the graveyard says of prompts."""
    for kind in ("prompts", "routes"):
        part = layout.part(kind, shard)
        _link(finished.local(part), run.folder / part)
        run.folder.tell(part)
    graveyard = pl.from_arrow(finished.table("graveyard", shard))
    assert isinstance(graveyard, pl.DataFrame)
    prompts = graveyard.filter(pl.col("kind") == "prompt").to_arrow()
    run.folder.write_table(layout.staged("unroutable", shard), conform(prompts, GRAVEYARD))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    link_or_copy(source, target)

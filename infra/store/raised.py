"""A run that its budget ended, and goes on with a larger one: whether it may, and from where.

Its work folder stays beside the manifest, with the journals of the shards that were not asked in
full. Taking the manifest away makes it an unfinished run like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arbitrage.answers import UNPAID
from arbitrage.config import RunConfig
from arbitrage.config.model import RunSection
from arbitrage.errors import ConfigError, RunConflictError
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.report.counts import Counts
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.usage import read_usage, spent

LIMITS = ("usd", "tokens", "requests")


def unasked(manifest: Mapping[str, Any]) -> int:
    """Candidates, prompts of an exact run and scores that were not asked for: no budget was left.

    >>> unasked({"counts": {"cells": [{"language": "tr", "teacher": "a", "failed": 3,
    ...     "failures": {SPENT: 3}}]}})
    3
    """
    counts = Counts.from_json(manifest["counts"])
    scores = manifest.get("rewards", {}).get("unscored", {}).values()
    unpaid = sum(int(causes.get(cause, 0)) for causes in scores for cause in UNPAID)
    return counts.total().failures[SPENT] + counts.unroutable_total.reasons[SPENT] + unpaid


def goes_on(manifest: Mapping[str, Any]) -> bool:
    """Whether a finished run keeps its work folder: a larger budget would ask for what it lacks."""
    return unasked(manifest) > 0 and not manifest.get("decided_from")


def limits_of(run: RunSection | Mapping[str, Any]) -> dict[str, float | None]:
    """The budgets of a [run] section by name, None for one that is not set."""
    get = run.get if isinstance(run, Mapping) else lambda key: getattr(run, key)
    return {name: get(f"budget_{name}") for name in LIMITS}


def spent_by(
    config: RunConfig | Mapping[str, Any], used: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """What is spent of the budgets; recorded answers cost nothing of any."""
    if isinstance(config, RunConfig):
        replayed = {teacher.name for teacher in config.teachers if teacher.backend == "replay"}
    else:
        replayed = {item["name"] for item in config["teachers"] if item["backend"] == "replay"}
    return spent({name: use for name, use in used.items() if name not in replayed})


def is_raised(run_id: str, manifest: Mapping[str, Any], config: RunConfig, started: Any) -> bool:
    """Whether this config goes on with a finished run, because it leaves it more to spend.

    Args:
        manifest: of the finished run.
        started: content of `layout.STARTED`, None where its work folder is gone.

    Raises ConfigError where less is left than was spent already, RunConflictError where the run
    cannot go on. The same budget as before leaves the run as it is.
    """
    wanted, before = limits_of(config.run), limits_of(manifest["config"]["run"])
    if wanted == before or unasked(manifest) == 0:
        return False
    gone = spent_by(manifest["config"], manifest.get("usage", {}))
    for name, limit in wanted.items():
        if limit is not None and gone[name] >= limit:
            had = "" if before[name] is None else f" of {before[name]:g}"
            raise ConfigError(
                f'run.budget_{name} = {limit:g} leaves nothing to ask for: the run "{run_id}" has '
                f"spent {gone[name]:g}{had} already.",
                mend=f"Set it above {gone[name]:g} to ask for the rest, or leave out --run-id to "
                "start another run.",
            )
    if manifest.get("decided_from"):
        raise RunConflictError(
            f'the run "{run_id}" was decided again from "{manifest["decided_from"]}" and asks '
            "nobody.",
            mend="Go on with that one, then decide it again.",
        )
    if started is None:
        raise RunConflictError(
            f'the run "{run_id}" cannot go on: its folder "{layout.WORK}" is gone.',
            mend="Leave out --run-id to start another run.",
        )
    if started["identity"] != config.identity:
        raise RunConflictError(
            f'the run "{run_id}" was decided again in place, and goes on only as it began.',
            mend=f"Give it the config it began with ({layout.STARTED} has it); decide it again "
            "afterwards.",
        )
    return True


def continuation(
    started: Mapping[str, Any], config: RunConfig, folder: Folder, superseded: str | None, at: str
) -> dict[str, Any]:
    """One entry of the manifest's `continued`: when, what was spent until then, what changed.

    `changed` maps each key to [before, after]; a value that was not set is None. `manifest` is the
    checksum of the manifest that was the run's until then, None where it had not finished.
    """
    old, new = _flat(started["config"]), _flat(config.resolved())
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return {
        "at": at,
        "spent": spent_by(config, read_usage(folder / layout.USAGE)),
        "changed": {key: [old.get(key), new.get(key)] for key in keys},
        "manifest": superseded,
    }


def reopen(folder: Folder, config: RunConfig) -> None:
    """Make everything unfinished that a larger budget changes; nothing where none is left.

    Shards that kept their journal are asked and scored again, which asks for what the journal and
    the answers of reward servers lack. What was decided over all shards goes. May be killed
    anywhere: the next call goes on.
    """
    marked = folder.exists(layout.REOPENING) or folder.exists(layout.MANIFEST)
    gone = spent_by(config, read_usage(folder / layout.USAGE))
    left = all(limit is None or gone[name] < limit for name, limit in limits_of(config.run).items())
    open_shards = [shard for shard in _kept_journals(folder) if _is_scored(folder, shard)]
    if not marked and not (left and open_shards):
        return
    folder.write_json(layout.REOPENING, {})
    folder.remove(layout.MANIFEST)
    folder.remove(layout.COMMITTED, layout.MATCHED, layout.ALL_MATCHED)
    folder.remove(layout.MOMENTS, layout.LIMITS, "candidates", "graveyard")
    _drop_last_round(folder)
    folder.remove(*(layout.staged("scored", shard) for shard in open_shards))
    folder.remove(layout.REOPENING)


def _flat(config: Any, key: str = "") -> dict[str, Any]:
    """Every value of a resolved config by its key; teachers by their names.

    >>> _flat({"run": {"seed": 0}, "teachers": [{"name": "a", "max_retries": 4}]})
    {'run.seed': 0, 'teachers.a.name': 'a', 'teachers.a.max_retries': 4}
    """
    if isinstance(config, list) and config and all(isinstance(item, Mapping) for item in config):
        config = {str(item.get("name", place)): item for place, item in enumerate(config)}
    if not isinstance(config, Mapping) or not config:
        return {key: config}
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= _flat(value, f"{key}.{name}" if key else name)
    return found


def _drop_last_round(folder: Folder) -> None:
    """Forget the round of an exact run that buried what no budget was left for."""
    rounds = folder.names(layout.ROUNDS, ".json")
    if not rounds:
        return
    last = folder.read_json(rounds[-1])
    if not last.get("spent"):
        return
    for shard in range(last["first"], last["first"] + last["shards"]):
        kinds = ("input", "rejected", "unroutable", "details", "scored")
        folder.remove(*(layout.staged(kind, shard) for kind in kinds))
        folder.remove(*(layout.staged(kind, shard, "json") for kind in ("plan", "moments")))
        folder.remove(*(layout.part(kind, shard) for kind in layout.PARTS))
        folder.remove(layout.journal(shard), f"{layout.SKETCHES}/{layout.sketch_part(shard)}")
    folder.remove(rounds[-1])


def _kept_journals(folder: Folder) -> list[int]:
    place = folder / layout.JOURNALS
    return sorted(int(path.name) for path in place.iterdir()) if place.is_dir() else []


def _is_scored(folder: Folder, shard: int) -> bool:
    return folder.exists(layout.staged("scored", shard))


def keeps_work(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the folder of a finished run holds what it needs to go on."""
    return goes_on(manifest) and (path / layout.STARTED).exists()

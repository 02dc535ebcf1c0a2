"""Teachers that died during a run, and what became of their requests: told by the manifest.

A file a shard, which has one writer: shards may be in work in several processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.infra.generation.death import TEACHER_DEAD
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder

# What the run that is decided again had; shards are named by number.
_CARRIED = f"{layout.DEATHS}/carried.json"


def record_deaths(
    folder: Folder, shard: int, reasons: Mapping[str, str], rerouted: Mapping[str, int]
) -> None:
    """Keep who died and why, and add how many of the shard's candidates others are asked for.

    Args:
        reasons: teacher -> its last failure.
        rerouted: teacher -> candidates.
    """
    name = layout.staged("deaths", shard, "json")
    known: dict[str, dict[str, Any]] = folder.read_json(name) if folder.exists(name) else {}
    for teacher, reason in reasons.items():
        entry = known.setdefault(teacher, {"reason": reason, "rerouted": 0})
        entry["reason"] = reason
        entry["rerouted"] += rerouted.get(teacher, 0)
    folder.write_json(name, known)


def carry_deaths(folder: Folder, deaths: Sequence[Mapping[str, Any]]) -> None:
    """Take the manifest's `deaths` over from the run that is decided again."""
    known = {d["teacher"]: {"reason": d["reason"], "rerouted": d["rerouted"]} for d in deaths}
    folder.write_json(_CARRIED, known)


def told_deaths(folder: Folder, counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The manifest's `deaths`: [{teacher, reason, rerouted, failed}], both numbers in candidates.

    A teacher that was back when the run was continued, so that nothing of it went elsewhere or
    failed, did not die.

    Args:
        counts: of the whole run, as JSON.
    """
    deaths = []
    for teacher, entry in _read(folder).items():
        mine = [cell for cell in counts["cells"] if cell["teacher"] == teacher]
        failed = sum(cell["failures"].get(TEACHER_DEAD, 0) for cell in mine)
        if entry["rerouted"] or failed:
            deaths.append({"teacher": teacher, **entry, "failed": failed})
    return deaths


def _read(folder: Folder) -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {}
    for name in folder.names(layout.DEATHS, ".json"):
        for teacher, entry in folder.read_json(name).items():
            so_far = known.get(teacher, {"rerouted": 0})["rerouted"]
            known[teacher] = {**entry, "rerouted": so_far + entry["rerouted"]}
    return known

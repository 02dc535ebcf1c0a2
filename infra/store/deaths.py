"""Teachers that died during a run, and what became of their requests: told by the manifest."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.infra.generation.death import TEACHER_DEAD
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder

# Shards of one run report their deaths from several threads.
_lock = threading.Lock()


def record_deaths(folder: Folder, reasons: Mapping[str, str], rerouted: Mapping[str, int]) -> None:
    """Keep who died and why, and add how many of their candidates others are asked for.

    Args:
        reasons: teacher -> its last failure.
        rerouted: teacher -> candidates of one shard.
    """
    with _lock:
        known = _read(folder)
        for teacher, reason in reasons.items():
            entry = known.setdefault(teacher, {"reason": reason, "rerouted": 0})
            entry["reason"] = reason
            entry["rerouted"] += rerouted.get(teacher, 0)
        folder.write_json(layout.DEATHS, known)


def carry_deaths(folder: Folder, deaths: Sequence[Mapping[str, Any]]) -> None:
    """Take the manifest's `deaths` over from the run that is decided again."""
    known = {d["teacher"]: {"reason": d["reason"], "rerouted": d["rerouted"]} for d in deaths}
    folder.write_json(layout.DEATHS, known)


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
    if not folder.exists(layout.DEATHS):
        return {}
    known: dict[str, dict[str, Any]] = folder.read_json(layout.DEATHS)
    return known

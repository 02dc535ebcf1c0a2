"""A teacher's limits divided among processes that ask it at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.config import TeacherConfig


def divided(teachers: Sequence[TeacherConfig], processes: int) -> list[TeacherConfig]:
    """The teachers as one of so many processes may ask them: all together keep every limit.

    What one process leaves unused another does not get. A concurrency below the number of processes
    cannot be divided: each would still ask one thing at a time.

    >>> pool = [TeacherConfig(name="a", backend="replay", max_concurrency=9, tokens_per_minute=90)]
    >>> [(t.max_concurrency, t.tokens_per_minute) for t in divided(pool, 4)]
    [(2, 22.5)]
    """
    if processes == 1:
        return list(teachers)
    return [teacher.model_copy(update=_share(teacher, processes)) for teacher in teachers]


def _share(teacher: TeacherConfig, processes: int) -> dict[str, float | int]:
    share: dict[str, float | int] = {
        "max_concurrency": max(1, teacher.max_concurrency // processes)
    }
    if teacher.initial_concurrency is not None:
        share["initial_concurrency"] = max(1, teacher.initial_concurrency // processes)
    for key in ("requests_per_minute", "tokens_per_minute"):
        limit = getattr(teacher, key)
        if limit is not None:
            share[key] = limit / processes
    return share

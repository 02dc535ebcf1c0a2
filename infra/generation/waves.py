"""Which teachers may be asked at the same time, where several share a device. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from arbitrage.config import TeacherConfig


@dataclass(frozen=True, slots=True)
class Wave:
    """One pass over all shards.

    Attributes:
        teachers: asked in it.
        exclusive: those of them that are closed when it ends, so that the next ones have room.
        open_to_moves: who may be asked in it in a dead teacher's place: its own teachers and those
            that are exclusive to nothing.
        over: exclusive teachers of earlier waves, closed for good.
    """

    teachers: tuple[str, ...]
    exclusive: tuple[str, ...] = ()
    open_to_moves: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()


def waves(teachers: Sequence[TeacherConfig]) -> list[Wave]:
    """The teachers in waves: the first has all that are not exclusive, and each wave the next
    exclusive one of each device, in the config's order. Each teacher is in exactly one wave.

    >>> [wave.teachers for wave in waves([TeacherConfig(name="a", backend="replay",
    ...     recordings="r.parquet")])]
    [('a',)]
    """
    devices: defaultdict[str, list[str]] = defaultdict(list)
    free = []
    for teacher in teachers:
        device = exclusive_device(teacher)
        if device is None:
            free.append(teacher.name)
        else:
            devices[device].append(teacher.name)
    count = max((len(names) for names in devices.values()), default=1)
    made: list[Wave] = []
    over: frozenset[str] = frozenset()
    for turn in range(count):
        own = tuple(names[turn] for names in devices.values() if turn < len(names))
        asked = (*free, *own) if turn == 0 else own
        made.append(Wave(asked, own, frozenset({*free, *own}), over))
        over |= frozenset(own)
    return made


def wave_of(teachers: Sequence[TeacherConfig], names: Sequence[str] | None) -> Wave:
    """The wave of these teachers; without names all teachers are in one."""
    if names is None:
        everybody = tuple(teacher.name for teacher in teachers)
        return Wave(everybody, open_to_moves=frozenset(everybody))
    return next(wave for wave in waves(teachers) if wave.teachers == tuple(names))


def exclusive_device(teacher: TeacherConfig) -> str | None:
    """The device that a teacher's own server needs for itself; None for one that runs elsewhere."""
    if teacher.base_url is not None or teacher.base_urls is not None:
        return None
    device: str | None = getattr(teacher.params, "exclusive", None)
    return device

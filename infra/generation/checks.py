"""Asking teachers whether they are there, before or beside a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from arbitrage.config import TeacherConfig
from arbitrage.errors import ArbitrageError
from arbitrage.infra.teachers.base import Teacher

Answer = str | ArbitrageError
Make = Callable[[TeacherConfig], Teacher]


async def check_teachers(configs: Sequence[TeacherConfig], make: Make) -> dict[str, Answer]:
    """Each teacher's answer to `check`, all at once: a line, or the error with the mend."""
    answers = await asyncio.gather(*(_check(config, make) for config in configs))
    return dict(zip((config.name for config in configs), answers, strict=True))


async def _check(config: TeacherConfig, make: Make) -> Answer:
    """All its endpoints; the first that fails speaks for it."""
    answers = await asyncio.gather(*(_check_one(each, make) for each in config.endpoints()))
    errors = [answer for answer in answers if isinstance(answer, ArbitrageError)]
    return errors[0] if errors else "; ".join(str(answer) for answer in answers)


async def _check_one(config: TeacherConfig, make: Make) -> Answer:
    teacher = make(config)
    try:
        return await teacher.check()
    except ArbitrageError as error:
        return error
    finally:
        await teacher.close()

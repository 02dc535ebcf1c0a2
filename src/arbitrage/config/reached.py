"""Everything a whole run config reaches outside the run, for a policy to allow or refuse."""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage import registry
from arbitrage.config.model import RunConfig, TeacherConfig
from arbitrage.reach import Reach, Reached, reached_by

_ON_THIS_MACHINE = {Reach.COMMAND, Reach.ARGUMENTS, Reach.ENVIRONMENT}


def reached(config: RunConfig) -> Iterator[Reached]:
    """What every section, plug-ins' keys included, reaches.

    >>> config = RunConfig.model_validate({
    ...     "prompts": {"source": "prompts.parquet"},
    ...     "teachers": [{"name": "a", "backend": "openai", "base_url": "http://a/v1"}]})
    >>> [f"{item.place}: {item.value}" for item in reached(config)]
    ['run.output: runs', 'prompts.source: prompts.parquet', 'teachers.a.base_url: http://a/v1']
    """
    yield from reached_by(config.run, "run")
    yield from reached_by(config.prompts, "prompts")
    for teacher in config.teachers:
        yield from _of_teacher(teacher)
    router = config.router.params
    yield from reached_by(router, "router")
    yield from getattr(router, "also_reached", lambda _: ())("router")
    for family, sections in (("filters", config.filter_params), ("views", config.view_params)):
        for name, params in sections.items():
            yield from reached_by(params, f"{family}.{name}")
    if config.calibrate is not None:
        yield from reached_by(config.calibrate, "calibrate")


def _of_teacher(teacher: TeacherConfig) -> Iterator[Reached]:
    place = f"teachers.{teacher.name}"
    backend = registry.teachers.get(teacher.backend).plugin
    here: bool = backend.works_here(teacher)
    yield from reached_by(backend.whole(teacher), place)
    for item in reached_by(teacher.params, place):
        if here or item.kind not in _ON_THIS_MACHINE:
            yield item
    if here and teacher.model is not None:
        yield Reached(f"{place}.model", Reach.MODEL, teacher.model)

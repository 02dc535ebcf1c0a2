"""Everything a whole run config reaches outside the run, for a policy to allow or refuse."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from arbitrage import registry
from arbitrage.config.model import RunConfig, TeacherConfig
from arbitrage.reach import Reach, Reached, reached_by

_ON_THIS_MACHINE = {Reach.COMMAND, Reach.ARGUMENTS, Reach.ENVIRONMENT}


def reached(config: RunConfig) -> Iterator[Reached]:
    """What every section, plug-ins' keys included, reaches, and the files they name."""
    yield from named(config)
    yield from named_in_files(config)


def named_in_files(config: RunConfig) -> Iterator[Reached]:
    """What files name that the config names: opens them, so ask first whether that is allowed."""
    yield from getattr(config.router.params, "also_reached", lambda _: ())("router")


def named(config: RunConfig) -> Iterator[Reached]:
    """What the config itself names. Opens nothing.

    >>> config = RunConfig.model_validate({
    ...     "prompts": {"source": "prompts.parquet"},
    ...     "teachers": [{"name": "a", "backend": "openai", "base_url": "http://a/v1"}]})
    >>> [f"{item.place}: {item.value}" for item in named(config)]
    ['run.output: runs', 'prompts.source: prompts.parquet', 'teachers.a.base_url: http://a/v1']
    """
    for name in RunConfig.model_fields:
        section = getattr(config, name)
        if isinstance(section, BaseModel) and name != "router":  # its own keys are in its params
            yield from reached_by(section, name)
    for teacher in config.teachers:
        yield from _of_teacher(teacher)
    yield from reached_by(config.router.params, "router")
    for family, sections in (("filters", config.filter_params), ("views", config.view_params)):
        for name, params in sections.items():
            yield from reached_by(params, f"{family}.{name}")


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

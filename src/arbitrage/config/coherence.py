"""Checks across sections: every name one section uses must be defined by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arbitrage import registry
from arbitrage.config.plugins import located
from arbitrage.config.ray import check_over_processes
from arbitrage.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from arbitrage.config.model import RunConfig


def check_coherence(config: RunConfig) -> None:
    """Raise a validation error where two sections contradict each other."""
    names = [teacher.name for teacher in config.teachers]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise located(f'two teachers are called "{name}".', ("teachers", index, "name"), name)
        greedy = config.teachers[index].sampling.greedy_samples or 0
        if greedy > config.run.samples:
            raise located(
                f"{greedy} greedy samples asked of run.samples = {config.run.samples}. "
                "Lower it or raise run.samples.",
                ("teachers", index, "sampling", "greedy_samples"),
                greedy,
            )
    _check_budget(config)
    check_over_processes(config)
    _check_router(config, names)
    measures = measured_columns(config)
    for measure in objective_measures(getattr(config.router.params, "reward", None)):
        _check_measure(measure, measures, ("router", "reward"))
    select = config.select
    for measure in objective_measures(select.objective):
        _check_measure(measure, measures, ("select", "objective"))
    for measure in select.constraints:
        _check_measure(measure, measures, ("select", "constraints"))
    for measure in objective_measures(config.calibrate.reward if config.calibrate else None):
        _check_measure(measure, measures, ("calibrate", "reward"))
    _check_rewards(config, measures)
    for name, params in config.view_params.items():
        reward = getattr(params, "reward", None)
        for measure in objective_measures(reward):
            _check_measure(measure, measures, ("views", name, "reward"))
        try:
            getattr(params, "check_measures", list)(measures)
        except ConfigError as error:
            raise located(str(error), ("views", name), None) from error
        if registry.views.get(name).plugin.ranks(params) and not (reward or select.objective):
            raise located(
                f'the view "{name}" ranks candidates and nothing says by which measure. '
                'Set select.objective, for example "maximize:length.words".',
                ("views", name),
                None,
            )


def _check_budget(config: RunConfig) -> None:
    """A budget holds only where every teacher that is asked has a price."""
    for index, teacher in enumerate(config.teachers):
        if config.run.budget_usd is not None and teacher.price is None:
            if teacher.backend == "replay":
                continue
            raise located(
                f'run.budget_usd is set and what "{teacher.name}" costs is not known. Set its '
                "price, or 0 where it costs nothing.",
                ("teachers", index, "cost_per_million_tokens"),
                None,
            )


def _check_router(config: RunConfig, names: list[str]) -> None:
    routed: list[str] = getattr(config.router.params, "named_teachers", list)()
    for name in [*routed, *([config.router.fallback] if config.router.fallback else [])]:
        if name not in names:
            error = unknown_name("teacher of this run", name, names, mend="Fix [router].")
            raise located(str(error), ("router",), name)
    if config.router.kind == "reward" and config.router.teachers_per_prompt != len(names):
        raise located(
            f"the reward router asks every teacher, all {len(names)}. Leave teachers_per_prompt "
            'out, or set kind = "uniform" to ask some of them.',
            ("router", "teachers_per_prompt"),
            config.router.teachers_per_prompt,
        )
    if config.router.teachers_per_prompt > len(names):
        raise located(
            f"{config.router.teachers_per_prompt} teachers per prompt asked, the pool has "
            f"{len(names)}. Lower it or add teachers.",
            ("router", "teachers_per_prompt"),
            config.router.teachers_per_prompt,
        )


def _check_rewards(config: RunConfig, measures: list[str]) -> None:
    if config.rewards is None:
        return
    for index, objective in enumerate(config.rewards.instead):
        for measure in objective_measures(objective):
            _check_measure(measure, measures, ("rewards", "instead", index))
    for measure in config.rewards.evaluate:
        _check_measure(measure, measures, ("rewards", "evaluate"))


def measured_columns(config: RunConfig) -> list[str]:
    """Every `FILTER.MEASURE` column that the configured filters write."""
    return [
        f"{name}.{measure}"
        for name, params in config.filter_params.items()
        for measure in registry.filters.get(name).plugin.measures_of(params)
    ]


def objective_measures(objective: str | dict[str, float] | None) -> list[str]:
    """The measures an objective names; a ValueError for a string that is not `direction:measure`.

    >>> objective_measures("maximize:lexical_diversity.mtld")
    ['lexical_diversity.mtld']
    """
    if objective is None:
        return []
    if isinstance(objective, dict):
        return list(objective)
    direction, _, measure = objective.partition(":")
    if direction not in {"maximize", "minimize"} or not measure:
        raise ValueError(
            f'"{objective}" is not an objective. Write "maximize:FILTER.MEASURE", '
            '"minimize:FILTER.MEASURE" or a table of weights.'
        )
    return [measure]


def _check_measure(measure: str, measures: list[str], location: tuple[Any, ...]) -> None:
    if measure not in measures:
        mend = "Add the filter to [filters] or name another measure."
        raise located(
            str(unknown_name("measure of this run", measure, measures, mend=mend)),
            location,
            measure,
        )

"""Who chooses and who evaluates in a run, and whether they are of one family of models.

A judge prefers what its own family wrote (self-preference: Panickssery et al. 2024, arXiv
2404.13076) and a reward evaluated by a relative of itself looks better than it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from arbitrage.config import RunConfig
from arbitrage.config.coherence import measured_columns
from arbitrage.config.rewards import reward_filters
from arbitrage.errors import ConfigError
from arbitrage.families import families_of
from arbitrage.filters.asking import ServerParams
from arbitrage.filters.trust import check_audit, reward_uses, standing_rewards


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that a filter asks, or a teacher; `families` is () where nobody knows them."""

    name: str
    model: str
    families: tuple[str, ...]

    @property
    def told(self) -> str:
        """For a sentence.

        >>> Asked("filters.judge", "gpt-9", ("gpt",)).told
        'filters.judge ("gpt-9", family gpt)'
        """
        family = ", ".join(self.families) or "unknown"
        return f'{self.name} ("{self.model}", family {family})'

    def related(self, other: Asked) -> str | None:
        """What two models share, None where nothing is known to be shared."""
        if self.model.lower() == other.model.lower():
            return "the same model"
        shared = sorted(set(self.families) & set(other.families))
        return f"both of the family {', '.join(shared)}" if shared else None


@dataclass(frozen=True, slots=True)
class Cast:
    """The models of a run by what they do.

    Attributes:
        choosing: asked by filters that a reward, a threshold or a constraint reads.
        evaluating: asked by filters that decide nothing, or by those of `rewards.evaluate`.
        teachers: who wrote the candidates.
    """

    choosing: tuple[Asked, ...]
    evaluating: tuple[Asked, ...]
    teachers: tuple[Asked, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "choosing": [asdict(item) for item in self.choosing],
            "evaluating": [asdict(item) for item in self.evaluating],
            "teachers": [asdict(item) for item in self.teachers],
        }


def cast_of(config: RunConfig) -> Cast:
    """Who does what in a run, by its config."""
    asked = {
        name: Asked(f"filters.{name}", params.model, families_of(params.model, params.family))
        for name, params in config.filter_params.items()
        if isinstance(params, ServerParams)
    }
    choosing = _choosing(config)
    named = config.rewards.evaluate if config.rewards else []
    evaluating = {measure.partition(".")[0] for measure in named}
    if not named:
        judging = [name for name in asked if _judges(config, name)]
        evaluating = {name for name in judging if name not in choosing}
    return Cast(
        tuple(item for name, item in asked.items() if name in choosing),
        tuple(item for name, item in asked.items() if name in evaluating),
        tuple(
            Asked(
                item.name,
                item.model or item.name,
                families_of(item.model or item.name, item.family),
            )
            for item in config.teachers
        ),
    )


def check_rewards(config: RunConfig) -> None:
    """ConfigError where a reward may decide nowhere, or is evaluated by one of its own family."""
    check_audit(config)
    check_families(config)
    for name, params in config.filter_params.items():
        if isinstance(params, ServerParams) and params.price is None and config.run.budget_usd:
            raise ConfigError(
                f"run.budget_usd is set and what [filters.{name}] costs is not known.",
                mend=f"Set filters.{name}.cost_per_million_tokens, or 0 where it costs nothing.",
            )


def check_families(config: RunConfig) -> None:
    """ConfigError where a model evaluates what it, or one of its family, chose."""
    if config.rewards is not None and config.rewards.allow_same_family:
        return
    for one, other, shared in _relatives(cast_of(config)):
        itself = one.name == other.name
        raise ConfigError(
            f"{one.told} would evaluate what "
            + ("it chose itself." if itself else f"{other.told} chose: {shared}."),
            mend="Let a model of another family evaluate, name the true family with "
            f'family = "..." in [{one.name}], or set rewards.allow_same_family = true, which the '
            "report then says.",
        )


def family_flags(config: RunConfig) -> list[dict[str, str]]:
    """What a reader of the run must know of its judges: `kind` and `says`, a sentence each.

    same_family: allowed by the config. self_preference: a judge scores its own family's answers.
    unknown_family: nothing can be told of a model. nobody_evaluates: what a model chose was looked
    at by no other.
    """
    found = cast_of(config)
    flags = [
        ("same_family", f"{one.told} evaluates what {other.told} chose: {shared}.")
        for one, other, shared in _relatives(found)
    ]
    judges = {item.name: item for item in (*found.choosing, *found.evaluating)}
    for judge in judges.values():
        if not _judges(config, judge.name.removeprefix("filters.")):
            continue
        own = [teacher for teacher in found.teachers if judge.related(teacher)]
        if own:
            names = ", ".join(f'"{teacher.name}"' for teacher in own)
            says = f"{judge.told} scores answers of its own family, by {names}: it may prefer them."
            flags.append(("self_preference", says))
    unknown = [item for item in (*judges.values(), *found.teachers) if not item.families]
    if judges and unknown:
        names = ", ".join(f'{item.name} ("{item.model}")' for item in unknown)
        says = (
            f"the family of {names} is not known: whether a model judges its own family cannot be "
            'told. Name it with family = "...".'
        )
        flags.append(("unknown_family", says))
    if found.choosing and not found.evaluating:
        names = ", ".join(item.told for item in found.choosing)
        flags.append(("nobody_evaluates", f"{names} chose, and no other model evaluated it."))
    return [{"kind": kind, "says": says} for kind, says in flags]


def _relatives(found: Cast) -> Iterator[tuple[Asked, Asked, str]]:
    """(evaluating, choosing, what they share)."""
    for one in found.evaluating:
        for other in found.choosing:
            shared = one.related(other)
            if shared:
                yield one, other, shared


def _choosing(config: RunConfig) -> set[str]:
    """Filters whose measures decide on candidates; none where a run only labels, without a view."""
    uses = reward_uses(config)
    if not uses and not config.views:
        return set()
    rewards = [*uses.values(), *standing_rewards(config)]
    names = {name for reward in rewards for name in reward_filters(reward)}
    names |= {measure.partition(".")[0] for measure in config.select.constraints}
    for name, params in config.filter_params.items():
        if cast("ServerParams", params).thresholds():
            names.add(name)
    return names & {column.partition(".")[0] for column in measured_columns(config)}


def _judges(config: RunConfig, name: str) -> bool:
    return cast("ServerParams", config.filter_params[name]).judges

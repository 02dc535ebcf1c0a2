"""[rewards]: the audit that a reward is trusted by, the floor under it, and what stands in."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, field_validator, model_validator

from arbitrage.config.coherence import objective_measures
from arbitrage.config.plugins import Strict
from arbitrage.config.select import Objective
from arbitrage.reach import Reach, Reached, opening

AUDIT_FORMAT, AUDIT_KIND = 1, "reward-audit"


class AuditedLanguage(Strict):
    """How right a reward was about the pairs of one language; `low` ends the 95 % interval."""

    pairs: int
    accuracy: float | None
    low: float | None


class AuditedReward(Strict):
    """One reward of an audit, with the identity of every filter whose measures it read."""

    reward: str
    filters: dict[str, dict[str, str]]
    languages: dict[str, AuditedLanguage]


class AuditRead(Strict):
    """What a run needs of audits, kept with its config so that deciding again reads no file."""

    paths: list[str]
    sha256: list[str]
    rewards: list[AuditedReward]


class RewardsConfig(Strict):
    """Keys of [rewards]: where a reward may route and pick, and who may judge whom."""

    audit: Annotated[str | list[str] | None, Reach.READ] = Field(
        None, description="audit.json of `arbitrage audit-reward -o`, or several."
    )
    floor: float = Field(
        0.6, ge=0, lt=1, description="Least lower end of the 95 % interval of its accuracy."
    )
    unaudited: Literal["refuse", "trust"] = Field(
        "refuse", description="What becomes of a language that the audit does not know."
    )
    instead: list[Objective] = Field(
        [], description="Rewards that stand in below the floor, the first that passes there."
    )
    otherwise: Literal["language", "nothing"] = Field(
        "language", description="Where none passes: whether it is the right language, or nothing."
    )
    evaluate: list[str] = Field(
        [], description="FILTER.MEASURE that judge the outcome; default: those that choose nothing."
    )
    allow_same_family: bool = Field(
        False, description="Whether a model may judge what one of its family chose; flagged then."
    )
    audited: AuditRead | None = Field(
        None, description="What was read of `audit`; filled in, and kept in the manifest."
    )

    @field_validator("instead")
    @classmethod
    def _names_measures(cls, value: list[Objective]) -> list[Objective]:
        for objective in value:
            if not objective_measures(objective):
                raise ValueError("a table of weights is empty; name a measure")
        return value

    @model_validator(mode="after")
    def _an_audit_for_the_floor(self) -> RewardsConfig:
        changed = [name for name in _OF_AUDITS if getattr(self, name) != _default(name)]
        if changed and self.audit is None:
            raise ValueError(
                f"{', '.join(changed)} does nothing without an audit. Name one: rewards.audit"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _reads_the_audit(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("audit"):
            return values
        given = values["audit"]
        paths = [given] if isinstance(given, str) else given
        known = values.get("audited")
        if isinstance(known, Mapping) and known.get("paths") == paths:
            return values  # a stored config carries what was read when its run began
        return {**values, "audited": read_audits([str(path) for path in paths])}


# Keys that say what follows from an audit.
_OF_AUDITS = ("floor", "unaudited", "instead", "otherwise")


def _default(name: str) -> Any:
    return RewardsConfig.model_fields[name].default


def read_audits(paths: list[str]) -> dict[str, Any]:
    """The content of audits, as `AuditRead` takes it; ValueError for what is none."""
    rewards: list[dict[str, Any]] = []
    hashes = []
    for path in paths:
        opening(Reached("rewards.audit", Reach.READ, path))
        try:
            data = Path(path).read_bytes()
            content = orjson.loads(data)
        except OSError as error:
            raise ValueError(
                f'the audit "{path}" cannot be read: {error.strerror or error}. Make one with '
                "`arbitrage audit-reward -o DIR` and name DIR/audit.json"
            ) from None
        except orjson.JSONDecodeError as error:
            raise ValueError(f'the audit "{path}" is not JSON ({error})') from None
        what = (content.get("kind"), content.get("format")) if isinstance(content, dict) else None
        if what != (AUDIT_KIND, AUDIT_FORMAT):
            raise ValueError(
                f'"{path}" is no reward audit of format {AUDIT_FORMAT}. Name the audit.json that '
                "`arbitrage audit-reward -o DIR` wrote"
            )
        hashes.append(sha256(data).hexdigest())
        try:
            rewards += [_reward(item, content["filters"]) for item in content["rewards"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'the audit "{path}" is damaged: {error!r}. Make it anew') from None
    return {"paths": paths, "sha256": hashes, "rewards": rewards}


def reward_name(reward: Objective) -> str:
    """A reward as one string: an objective as it is, weights as JSON in the order of their names.

    >>> reward_name("maximize:length.words"), reward_name({"b.y": 1, "a.x": 0.5})
    ('maximize:length.words', '{"a.x":0.5,"b.y":1.0}')
    """
    if isinstance(reward, str):
        return reward
    weights = {name: float(weight) for name, weight in reward.items()}
    return orjson.dumps(weights, option=orjson.OPT_SORT_KEYS).decode()


def reward_filters(reward: Objective) -> list[str]:
    """The filters whose measures a reward reads, once each.

    >>> reward_filters({"judge.score": 1, "judge.position": -1, "length.words": 1})
    ['judge', 'length']
    """
    return list(dict.fromkeys(name.partition(".")[0] for name in objective_measures(reward)))


def _reward(item: Mapping[str, Any], filters: Mapping[str, Any]) -> dict[str, Any]:
    name = item["reward"]
    reward = orjson.loads(name) if name.startswith("{") else name
    known = ("pairs", "accuracy", "low")
    return {
        "reward": name,
        "filters": {used: filters[used] for used in reward_filters(reward)},
        "languages": {
            tag: {key: found[key] for key in known} for tag, found in item["languages"].items()
        },
    }

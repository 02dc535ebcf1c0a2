"""Where a reward may decide: its audit against the floor, language by language, and what stands in.

A reward orders the answers to a prompt. Where an audit has not shown that people order them so, its
order is noise that looks like knowledge: below the floor another one decides, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from arbitrage.config import RunConfig
from arbitrage.config.coherence import measured_columns
from arbitrage.config.rewards import (
    AuditedLanguage,
    AuditedReward,
    RewardsConfig,
    reward_filters,
    reward_name,
)
from arbitrage.config.select import Objective
from arbitrage.errors import ConfigError
from arbitrage.filters.base import FilterParams
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import filter_columns
from arbitrage.filters.values import Mask, Values, objective_values
from arbitrage.registry import views

Standing = Literal[
    "passes", "below_floor", "not_audited", "taken_on_trust", "needs_none", "no_audit"
]

# What says whether an answer is in the language asked for: it measures, people need not agree with
# it, so it decides without an audit. The first that a run has stands in where no reward passes.
FIDELITY = ("language_confusion.line_pass", "language_id.match")

_MAY: dict[Standing, bool] = {
    "passes": True,
    "taken_on_trust": True,
    "needs_none": True,
    "no_audit": True,
    "below_floor": False,
    "not_audited": False,
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What orders the answers in one language where a reward is asked for.

    Attributes:
        standing: of the reward that is asked for. "no_audit": the run names none at all.
        used: what decides; None = nothing does.
        audited: what the audit found of the reward asked for, None where it found nothing.
    """

    standing: Standing
    used: Objective | None
    audited: AuditedLanguage | None = None


class Trust:
    """What the audit of a run says of its rewards, looked up once a reward."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._asked = config.rewards
        self._entries: dict[str, list[AuditedReward]] = {}

    @property
    def audited(self) -> bool:
        """Whether the run names an audit at all."""
        return self._asked is not None and self._asked.audited is not None

    def ruling(self, reward: Objective, language: str) -> Ruling:
        """What orders the answers of one language where `reward` is asked for.

        The reward itself where it passes; else the first of `rewards.instead` that does; else
        whether an answer is in its language, where the run measures that and `rewards.otherwise`
        allows it.
        """
        asked = self._asked
        if asked is None or asked.audited is None:
            return Ruling("no_audit", reward)
        standing, found = self._standing(asked, reward, language)
        if _MAY[standing]:
            return Ruling(standing, reward, found)
        for other in asked.instead:
            if _MAY[self._standing(asked, other, language)[0]]:
                return Ruling(standing, other, found)
        measured = measured_columns(self._config)
        fidelity = next((f"maximize:{name}" for name in FIDELITY if name in measured), None)
        return Ruling(standing, fidelity if asked.otherwise == "language" else None, found)

    def may_decide(self, reward: Objective, language: str) -> bool:
        """Whether the reward itself passes there."""
        return _MAY[self.ruling(reward, language).standing]

    def entries(self, reward: Objective) -> list[AuditedReward]:
        """What the audits say of this very reward: the same measures of the same filters."""
        named = reward_name(reward)
        if named not in self._entries:
            mine = {name: _identity(self._config, name) for name in reward_filters(reward)}
            audited = self._asked.audited if self._asked else None
            known = audited.rewards if audited else []
            self._entries[named] = [i for i in known if i.reward == named and i.filters == mine]
        return self._entries[named]

    def _standing(
        self, asked: RewardsConfig, reward: Objective, language: str
    ) -> tuple[Standing, AuditedLanguage | None]:
        if needs_none(reward):
            return "needs_none", None
        found = [
            item.languages[language]
            for item in self.entries(reward)
            if language in item.languages and item.languages[language].low is not None
        ]
        if not found:
            return ("not_audited" if asked.unaudited == "refuse" else "taken_on_trust"), None
        # Two audits of one language, on two sets of pairs: it has to pass both.
        worst = min(found, key=_low)
        return ("passes" if _low(worst) >= asked.floor else "below_floor"), worst


def trusted_values(
    table: pa.Table,
    config: RunConfig,
    reward: Objective,
    moments: Moments | None = None,
    *,
    alone: bool = False,
) -> Values:
    """float64 [n]: `objective_values` of what may order the answers in each row's language.

    NaN = not measured, or nothing may. Values of two languages may be of two rewards and do not
    compare; those of one language are always of one.

    Args:
        alone: nothing stands in for the reward: where it may not decide, all is NaN.
    """
    trust = Trust(config)
    if not trust.audited:
        return objective_values(table, reward, moments)
    languages = table.column("language").combine_chunks().dictionary_encode()
    codes, tags = languages.indices.to_numpy(), languages.dictionary.to_pylist()
    deciding = [trust.ruling(reward, tag).used for tag in tags]
    names = np.array([reward_name(used) if used else "" for used in deciding], dtype=object)
    values = np.full(table.num_rows, np.nan)
    for used in {reward_name(used): used for used in deciding if used}.values():
        if alone and used != reward:
            continue
        mine = np.flatnonzero((names == reward_name(used))[codes])
        values[mine] = objective_values(table.take(pa.array(mine)), used, moments)
    return values


def may_teach(table: pa.Table, config: RunConfig, reward: Objective) -> Mask:
    """bool [n]: whether a router may learn from this reward in the row's language."""
    trust, tags = Trust(config), table.column("language").to_pylist()
    allowed = {tag: trust.may_decide(reward, tag) for tag in set(tags)}
    return np.array([allowed[tag] for tag in tags], dtype=np.bool_)


def check_audit(config: RunConfig) -> None:
    """ConfigError where the audit says nothing of a reward that decides: another model's, say."""
    asked, trust = config.rewards, Trust(config)
    if asked is None or asked.audited is None or asked.unaudited == "trust":
        return
    uses = [*reward_uses(config).items(), *(("rewards.instead", r) for r in asked.instead)]
    for where, reward in uses:
        if needs_none(reward) or trust.entries(reward):
            continue
        named = reward_name(reward)
        same = [item for item in asked.audited.rewards if item.reward == named]
        what = (
            f'the audit\'s "{named}" was measured by another model, version or other params than '
            "this run's"
            if same
            else f'the audit says nothing of "{named}"'
        )
        raise ConfigError(
            f"{where}: {what}, so it may decide nowhere.",
            known=sorted({item.reward for item in asked.audited.rewards}),
            mend=f"Audit it by `arbitrage audit-reward PAIRS --filter ... --reward '{named}' -o D` "
            'and name D/audit.json in rewards.audit; or set rewards.unaudited = "trust".',
        )


def reward_uses(config: RunConfig) -> dict[str, Objective]:
    """Where in a config a reward decides -> which."""
    found: dict[str, Objective | None] = {
        "router.reward": getattr(config.router.params, "reward", None),
        "select.objective": config.select.objective,
        "calibrate.reward": config.calibrate.reward if config.calibrate else None,
    }
    for name, params in config.view_params.items():
        if views.get(name).plugin.ranks(params) or getattr(params, "reward", None):
            found[f"views.{name}"] = getattr(params, "reward", None) or config.select.objective
    if config.router.kind == "reward" and found["router.reward"] == config.select.objective:
        del found["select.objective"]  # it is how that router decides
    return {where: reward for where, reward in found.items() if reward}


def standing_rewards(config: RunConfig) -> list[Objective]:
    """Rewards that may have to stand in."""
    return list(config.rewards.instead) if config.rewards and config.rewards.audited else []


def rulings_of(
    config: RunConfig, languages: Iterable[str], alone: Collection[str] = ()
) -> list[dict[str, Any]]:
    """JSON-like, for the manifest: of each use of a reward what decided in each language.

    `where`, `reward`, `languages`: tag -> `standing`, `used` (None: nothing), and of the audit
    `pairs`, `accuracy` and `low` (None where it knows nothing of it).

    Args:
        alone: uses in which nothing stands in; those that a router learns from are none either.
    """
    tags, trust = sorted(languages), Trust(config)
    learned = () if config.router.kind == "reward" else ("router.reward",)
    alone = {*alone, *learned, "calibrate.reward"}
    found = []
    for where, reward in reward_uses(config).items():
        by_language = {}
        for tag in tags:
            ruled = trust.ruling(reward, tag)
            told, used = ruled.audited, ruled.used
            if used is not None and used != reward and where in alone:
                used = None
            by_language[tag] = {
                "standing": ruled.standing,
                "used": None if used is None else reward_name(used),
                "pairs": told.pairs if told else None,
                "accuracy": told.accuracy if told else None,
                "low": told.low if told else None,
            }
        found.append({"where": where, "reward": reward_name(reward), "languages": by_language})
    return found


def _identity(config: RunConfig, name: str) -> dict[str, str]:
    """`filter` and `params` of a filter's score columns, as an audit tells them."""
    field = filter_columns(name, cast("FilterParams", config.filter_params[name]))[0]
    return {key.decode(): value.decode() for key, value in field.metadata.items()}


def needs_none(reward: Objective) -> bool:
    """Whether a reward is no more than being in the right language."""
    return isinstance(reward, str) and reward in {f"maximize:{name}" for name in FIDELITY}


def _low(found: AuditedLanguage) -> float:
    return cast("float", found.low)

"""Which reward decided in which language, which models chose and which evaluated, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arbitrage.answers import PASSING

NOTHING = "nothing"
# Standings in which the reward that is asked for does not decide.
_REFUSED = {"below_floor": "is below the floor", "not_audited": "was never audited"}
_TRUSTED = "taken_on_trust"


@dataclass(frozen=True, slots=True)
class RewardRow:
    """One use of a reward in some languages that were ruled alike.

    Attributes:
        languages: tag -> (accuracy, lower end of its 95 % interval, pairs), None where not audited.
        used: what decided there, "nothing" where nothing did.
        unranked: kept candidates that nothing ordered.
    """

    where: str
    reward: str
    standing: str
    used: str
    languages: Mapping[str, tuple[float, float, int] | None]
    unranked: int

    @property
    def refused(self) -> bool:
        return self.standing in _REFUSED

    @property
    def told(self) -> str:
        """The languages, each with what the audit found there."""
        return ", ".join(
            tag if found is None else f"{tag} {found[0]:.1%} (from {found[1]:.1%}) of {found[2]:,}"
            for tag, found in self.languages.items()
        )


def reward_rows(manifest: Mapping[str, Any]) -> list[RewardRow]:
    """A row for each use of a reward and each ruling on it; [] where no audit is named."""
    section = manifest.get("rewards") or {}
    if not section.get("audit"):
        return []
    return [row for use in section["uses"] for row in _rows(use)]


def reward_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """What must not be overlooked: where a reward did not decide, and the flags.

    >>> found = {"standing": "not_audited", "used": None, "low": None, "unranked": 12}
    >>> use = {"where": "views.kto", "reward": "maximize:judge.score", "languages": {"ar": found}}
    >>> reward_sentences({"rewards": {"audit": ["a.json"], "uses": [use]}})[0].split("; ")[0]
    'views.kto: maximize:judge.score was never audited in ar'
    """
    section = manifest.get("rewards") or {}
    said = []
    for row in reward_rows(manifest):
        if row.refused:
            floor = f" {section['floor']:g}" if row.standing == "below_floor" else ""
            unranked = (
                f", {row.unranked:,} kept candidates are in no order" if row.used == NOTHING else ""
            )
            said.append(
                f"{row.where}: {row.reward} {_REFUSED[row.standing]}{floor} in {row.told}; "
                f"{row.used} decided there{unranked}."
            )
        elif row.standing == _TRUSTED:
            said.append(
                f"{row.where}: {row.reward} decided in {row.told} and was never audited there "
                '(rewards.unaudited = "trust").'
            )
    for name, causes in section.get("unscored", {}).items():
        lost = ", ".join(f"{cause} {count:,}" for cause, count in causes.items())
        mend = ""
        if any(cause.removeprefix("partly_") in PASSING for cause in causes):
            mend = " `arbitrage decide RUN --retry-unanswered` asks again."
        said.append(f"filters.{name}: candidates without a whole score: {lost}.{mend}")
    return [*said, *(f"{flag['kind']}: {flag['says']}" for flag in section.get("flags", []))]


def model_rows(manifest: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Role, name, model and family of each model that chose or evaluated; [] where none did."""
    models = (manifest.get("rewards") or {}).get("models") or {}
    if not models.get("choosing") and not models.get("evaluating"):
        return []
    return [
        (role, item["name"], item["model"], ", ".join(item["families"]) or "unknown")
        for role, group in (("chose", "choosing"), ("evaluated", "evaluating"))
        for item in models.get(group, [])
    ]


def _rows(use: Mapping[str, Any]) -> Iterator[RewardRow]:
    groups: dict[tuple[str, str], list[str]] = {}
    for tag, found in use["languages"].items():
        groups.setdefault((found["standing"], found["used"] or NOTHING), []).append(tag)
    for (standing, used), tags in groups.items():
        told = {tag: use["languages"][tag] for tag in tags}
        yield RewardRow(
            where=use["where"],
            reward=use["reward"],
            standing=standing,
            used=used,
            languages={
                tag: None if item["low"] is None else (item["accuracy"], item["low"], item["pairs"])
                for tag, item in told.items()
            },
            unranked=sum(item.get("unranked", 0) for item in told.values()),
        )

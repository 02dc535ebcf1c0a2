"""What another router would have earned on an old run, from its logged propensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.routers.bootstrap import Resampled, resampled
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.pooling import PooledMeans

Matrix = NDArray[np.float64]

FOLDS = 5
# Fewer effective prompts than this, or than this share of all, and the estimates are warned of.
FEW_EFFECTIVE, SMALL_SHARE = 50.0, 0.1
# Mass on teachers that the old run could not draw, beyond which the estimates are warned of.
UNSEEN_MASS = 0.01


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """Rewards of an old run's draws, and what either router gives each teacher.

    Attributes:
        languages: of each prompt.
        rewards: float64 [n, teachers], NaN where a teacher was not drawn; each row has one.
        propensities: float64 [n, teachers] in (0, 1] where there is a reward: how likely the
            teacher was among those drawn.
        old, new: float64 [n, teachers], rows sum to 1: the probabilities of both routers.
    """

    languages: Sequence[str]
    rewards: Matrix
    propensities: Matrix
    old: Matrix
    new: Matrix

    def check(self) -> None:
        """ConfigError where there is nothing to go by, or a number that cannot be."""
        if not len(self.rewards):
            raise ConfigError(
                "no prompt of the run has a reward.", mend="Name a measure that it has scores of."
            )
        there = ~np.isnan(self.rewards)
        logged = self.propensities[there]
        if not (np.isfinite(self.rewards[there]).all() and (logged > 0).all()):
            raise ConfigError(
                "a reward is infinite, or was drawn with a propensity that is not above 0.",
                mend="Verify the run with `arbitrage verify`.",
            )


def off_policy_value(log: LoggedRun, *, replicates: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The mean reward a prompt that the new router would have earned with one teacher a prompt.

    Returns JSON-like data: n_prompts; logged (the old router's own, self-normalised); estimates:
    ips (inverse propensity, Horvitz and Thompson 1952), snips (self-normalised, Swaminathan and
    Joachims 2015) and dr (doubly robust, Dudik, Langford and Li 2011), each {value, ci95,
    vs_logged {difference, ci95}}; effective_sample_size (Kish: (sum w)^2 / sum w^2);
    largest_weight; unseen_mass, what the new router gives, in the mean, to teachers the old one
    could not draw; warnings.

    The direct part of dr is the teacher's partially pooled mean reward in the language, fitted on
    the other four of five folds, so it never sees the reward it corrects. Intervals: 95 %
    percentile bootstrap over prompts, paired with the old router's value.

    Blind spots: where unseen_mass > 0, ips and snips say nothing of that part and dr believes its
    direct model. Prompts of a bandit's run are not independent of each other: the estimates stay
    unbiased, the intervals are approximate (Hadad et al. 2021). With few effective prompts no
    interval is to be trusted.
    """
    log.check()
    there = ~np.isnan(log.rewards)
    weight = np.where(there, log.new / np.where(there, log.propensities, 1.0), 0.0)
    old_weight = np.where(there, log.old / np.where(there, log.propensities, 1.0), 0.0)
    reward = np.where(there, log.rewards, 0.0)
    believed = _direct(log, seed)
    direct = (log.new * believed).sum(axis=1)
    robust = direct + (weight * (reward - believed)).sum(axis=1)
    parts = np.column_stack(
        [
            (weight * reward).sum(axis=1),
            weight.sum(axis=1),
            robust,
            (old_weight * reward).sum(axis=1),
            old_weight.sum(axis=1),
        ]
    )
    names = [str(place) for place in range(len(parts))]
    draws = resampled(parts, names, replicates=replicates, seed=seed)
    now, logged = _values(parts.mean(axis=0)[None]), _values(draws.means)
    total = weight.sum(axis=1)
    squares = float((total**2).sum())
    effective = float(total.sum() ** 2 / squares) if squares else 0.0
    unseen = float(np.where(log.old > 0, 0.0, log.new).sum(axis=1).mean())
    return {
        "n_prompts": len(parts),
        "logged": {
            "value": float(now["logged"][0]),
            "ci95": draws.interval(logged["logged"]),
        },
        "estimates": {name: _estimate(draws, now, logged, name) for name in ("ips", "snips", "dr")},
        "effective_sample_size": effective,
        "largest_weight": float(total.max()),
        "unseen_mass": unseen,
        "warnings": _warnings(len(parts), effective, unseen, float(total.max())),
    }


def _values(means: Matrix) -> dict[str, Matrix]:
    """Each estimate of rows of column means."""

    def ratio(top: Matrix, bottom: Matrix) -> Matrix:
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    return {
        "ips": means[:, 0],
        "snips": ratio(means[:, 0], means[:, 1]),
        "dr": means[:, 2],
        "logged": ratio(means[:, 3], means[:, 4]),
    }


def _estimate(
    draws: Resampled, now: dict[str, Matrix], drawn: dict[str, Matrix], name: str
) -> dict[str, Any]:
    value, difference = float(now[name][0]), float(now[name][0] - now["logged"][0])
    known = bool(np.isfinite(value))
    return {
        "value": value if known else None,
        "ci95": draws.interval(drawn[name]),
        "vs_logged": {
            "difference": difference if known else None,
            "ci95": draws.interval(drawn[name] - drawn["logged"]),
        },
    }


def _direct(log: LoggedRun, seed: int) -> Matrix:
    """float64 [n, teachers]: expected rewards, each row by a fit that did not see it."""
    names = [str(place) for place in range(len(log.rewards))]
    folds = grouped_folds(names, FOLDS, seed)
    found = np.zeros(log.rewards.shape)
    for fold in range(int(folds.max()) + 1):
        inside = np.flatnonzero(folds != fold)
        outside = np.flatnonzero(folds == fold)
        if len(inside):
            rewards = log.rewards[inside].copy()
            # A teacher without a reward here is believed to be as good as all.
            rewards[0, np.isnan(rewards).all(axis=0)] = np.nanmean(rewards)
            means = PooledMeans.of([log.languages[place] for place in inside.tolist()], rewards)
            rows = means.rows([log.languages[place] for place in outside.tolist()])
            found[outside] = np.where(np.isfinite(rows), rows, means.overall)
    return found


def _warnings(prompts: int, effective: float, unseen: float, largest: float) -> list[str]:
    said = []
    if effective < max(FEW_EFFECTIVE, SMALL_SHARE * prompts):
        said.append(
            f"{prompts:,} prompts are worth {effective:,.0f} here: the routers differ too much for "
            "the intervals to be trusted"
        )
    if unseen > UNSEEN_MASS:
        said.append(
            f"{unseen:.1%} of the new router's choices are teachers that the old run never draws "
            "for the prompt: ips and snips leave them out, dr guesses them from other prompts"
        )
    if largest > 0.1 * prompts:
        said.append(f"one prompt weighs as much as {largest:,.0f}")
    return said

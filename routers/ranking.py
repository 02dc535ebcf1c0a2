"""Which teacher is best in each language, by how much, and whether that can be told at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.bootstrap import FEWEST_GROUPS, resampled
from arbitrage.routers.elo import elo_ratings
from arbitrage.routers.pooling import Matrix
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.transitivity import Transitivity, transitivity

ALL = "all"
# Added to the wins of either side of every pair, so that a teacher that never won has a strength.
HALF_A_WIN = 0.5
# With fewer prompts hardly anybody is separable: who is surely behind over all languages is no tie
# in such a language, however cheap.
FEW_PROMPTS = 30
_ROUNDS = 200
_REPLICATES = 500


@dataclass(frozen=True, slots=True)
class Ranked:
    """One teacher in one language.

    Attributes:
        mean, ci95: mean reward over prompts that it has a reward for.
        behind: mean reward of the leader less its own, over prompts that both have; behind_ci95.
        strength, strength_ci95: Bradley-Terry, natural logarithm, mean 0 over the teachers.
        elo, elo_range: mean over 100 orders of the matches, and the middle 95 % of the orders.
        separable: whether it is behind the leader for certain: the interval of `behind` above 0,
            on six prompts (or groups) at least.
    """

    teacher: str
    n_prompts: int
    mean: float
    ci95: tuple[float, float] | None
    behind: float
    behind_ci95: tuple[float, float] | None
    strength: float
    strength_ci95: tuple[float, float] | None
    elo: float
    elo_range: tuple[float, float]
    separable: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """The teachers of one language, best first.

    Attributes:
        choice: whom to take: where costs are given, the cheapest of those that cannot be told from
            the leader (with fewer than 30 prompts, nor surely behind over all languages), else the
            leader.
        says: the same as a sentence.
        transitivity: circles among the teachers, that no ranking can show.
    """

    language: str
    n_prompts: int
    teachers: tuple[Ranked, ...]
    choice: str
    says: str
    transitivity: Transitivity

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rank_teachers(
    log: RewardLog, *, costs: Mapping[str, float] | None = None, seed: int = 0
) -> list[Ranking]:
    """Rank the teachers over all prompts ("all") and in each language.

    By mean reward, with 95 % bootstrap intervals over groups; beside it Bradley-Terry strengths
    from all pairs of teachers within a prompt (a tie is half a win each), free of any order of
    matches; Elo over 100 orders; and circles. A teacher without a reward in a language is not
    ranked there.

    Args:
        costs: teacher -> cost of an answer; where given, ties go to the cheaper.
    """
    tags = np.array(log.prompts.languages)
    parts = [(tag, np.flatnonzero(tags == tag)) for tag in sorted(set(tags.tolist()))]
    overall = _ranked(ALL, log, costs or {}, frozenset(), seed)
    behind = frozenset(line.teacher for line in overall.teachers if line.separable)
    own = [_ranked(tag, log.part(places), costs or {}, behind, seed) for tag, places in parts]
    return [overall, *own]


def _ranked(
    tag: str, log: RewardLog, costs: Mapping[str, float], behind_in_all: frozenset[str], seed: int
) -> Ranking:
    there = log.present
    heard = np.flatnonzero(there.any(axis=0))
    rewards = log.rewards[:, heard]
    names = [log.teachers[column] for column in heard]
    means = np.nanmean(rewards, axis=0)
    price = np.array([costs.get(name, 0.0) for name in names])
    order = np.lexsort((price, -means))
    leader = int(order[0])
    lines = []
    wins, replicated = _wins(log, rewards, seed)
    strengths, replicas = bradley_terry(wins[None])[0], bradley_terry(replicated)
    elo = elo_ratings(rewards, seed=seed)
    for column in order:
        own = ~np.isnan(rewards[:, column])
        both = own & ~np.isnan(rewards[:, leader])
        behind = rewards[both, leader] - rewards[both, column]
        mean_ci = _interval(rewards[own, column], log, own, seed)
        behind_ci = _interval(behind, log, both, seed) if column != leader else None
        enough = len({log.groups[row] for row in np.flatnonzero(both).tolist()}) >= FEWEST_GROUPS
        certain = enough and behind_ci is not None and behind_ci[0] > 0
        bounds = None
        if len(set(log.groups)) > 1:
            low, high = np.percentile(replicas[:, column], [2.5, 97.5])
            bounds = float(low), float(high)
        lines.append(
            Ranked(
                names[column],
                int(own.sum()),
                float(means[column]),
                mean_ci,
                float(behind.mean()) if len(behind) else float("nan"),
                behind_ci,
                float(strengths[column]),
                bounds,
                float(elo.mean[column]),
                (float(elo.low[column]), float(elo.high[column])),
                certain,
            )
        )
    no_tie = behind_in_all if len(log) < FEW_PROMPTS else frozenset()
    others = (line for line in lines[1:] if not line.separable and line.teacher not in no_tie)
    level = [lines[0], *others]
    choice = min(level, key=lambda line: costs.get(line.teacher, 0.0)) if costs else lines[0]
    circles = transitivity(names, wins, replicated)
    return Ranking(tag, len(log), tuple(lines), choice.teacher, _sentence(tag, lines), circles)


def _sentence(tag: str, lines: list[Ranked]) -> str:
    first, place = lines[0], "over all languages" if tag == ALL else f"in {tag}"
    if len(lines) == 1:
        return f"{first.teacher} is the only teacher rated {place}."
    level = [line.teacher for line in lines[1:] if not line.separable]
    if level:
        return (
            f"{first.teacher} leads {place} with a mean of {first.mean:.3g}, not separable from "
            f"{', '.join(level)} on {first.n_prompts:,} prompts."
        )
    second = lines[1]
    low, high = second.behind_ci95 or (second.behind, second.behind)
    return (
        f"{first.teacher} is best {place}: mean {first.mean:.3g}, ahead of {second.teacher} by "
        f"{second.behind:.3g} [{low:.3g}, {high:.3g}] on {first.n_prompts:,} prompts."
    )


def _interval(
    values: Matrix, log: RewardLog, rows: NDArray[np.bool_], seed: int
) -> tuple[float, float] | None:
    if not len(values):
        return None
    groups = [group for group, here in zip(log.groups, rows, strict=True) if here]
    return resampled(values[:, None], groups, replicates=1000, seed=seed).interval()


def _wins(log: RewardLog, rewards: Matrix, seed: int) -> tuple[Matrix, Matrix]:
    """How often i beat j, float64 [teachers, teachers], and [replicates, ...] over groups."""
    count = rewards.shape[1]
    there = ~np.isnan(rewards)
    known = np.where(there, rewards, 0.0)
    won = (np.sign(known[:, :, None] - known[:, None, :]) + 1) / 2
    won *= there[:, :, None] & there[:, None, :]
    flat = won.reshape(len(rewards), -1)
    # Means over replicates times the number of prompts are as good as sums for a strength.
    sums = resampled(flat, log.groups, replicates=_REPLICATES, seed=seed).means * len(rewards)
    return flat.sum(axis=0).reshape(count, count), sums.reshape(-1, count, count)


def bradley_terry(wins: NDArray[np.float64]) -> Matrix:
    """float64 [tables, players]: log-strengths, of mean 0, for each table of wins.

    Source: the MM algorithm of Hunter 2004, with half a win added for either side of every pair.

    Args:
        wins: float64 [tables, players, players], [t, i, j] = how often i beat j; the diagonal is
            not read.

    >>> bradley_terry(np.array([[[0.0, 3.0], [1.0, 0.0]]])).round(3).tolist()
    [[0.424, -0.424]]
    """
    count = wins.shape[1]
    off = ~np.eye(count, dtype=np.bool_)
    wins = np.where(off, wins + HALF_A_WIN, 0.0)
    played = wins + wins.transpose(0, 2, 1)
    total = wins.sum(axis=2)
    strength = np.ones(wins.shape[:2])
    for _ in range(_ROUNDS):
        pairs = strength[:, :, None] + strength[:, None, :]
        fresh = total / np.maximum((played / pairs).sum(axis=2), 1e-300)
        fresh = np.where(total > 0, fresh, 1.0)
        fresh /= np.exp(np.log(fresh).mean(axis=1, keepdims=True))
        done = np.allclose(fresh, strength, rtol=1e-7, atol=0)
        strength = fresh
        if done:
            break
    found: Matrix = np.log(strength)
    return found

"""What routers are worth on a reward log: one set of folds for all, paired intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.routers.bootstrap import Resampled, holm, resampled, two_sided
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.meaning import Meaning
from arbitrage.routers.policies import POLICIES, policy
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column
from arbitrage.routers.relatives import family_of
from arbitrage.routers.reward_log import RewardLog

ORACLE = "oracle"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rewards that routers earned on prompts they were not fitted on.

    Attributes:
        earned: router -> float64 [n_prompts]; "oracle" among them.
        seconds: router -> (to fit, to route), summed over folds.
        split: how fit and test were kept apart, a sentence.
    """

    log: RewardLog
    earned: dict[str, Matrix]
    seconds: dict[str, tuple[float, float]]
    split: str


def cross_validated(
    log: RewardLog,
    routers: Sequence[str] = tuple(POLICIES),
    *,
    folds: NDArray[np.intp] | int = FOLDS,
    seed: int = 0,
    meaning: Meaning | None = None,
) -> Evaluation:
    """Fit each router on all folds but one and let it route that one, in turn.

    Args:
        folds: how many, drawn so that groups stay together; or the fold of each prompt.
        meaning: the embedder of "learned+embeddings", if that is among the routers.
    """
    if isinstance(folds, int):
        if len(set(log.groups)) < 2:
            raise ConfigError(
                "cross-validation needs two prompts (or groups) at least, the log has one.",
                mend="Give more prompts, or a test log with --test.",
            )
        folds = grouped_folds(log.groups, folds, seed)
    count = int(folds.max()) + 1
    earned = {name: np.full(len(log), np.nan) for name in routers}
    seconds = dict.fromkeys(routers, (0.0, 0.0))
    for fold in range(count):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        part = _try_all(log.part(inside), log.part(outside), routers, seed, meaning)
        for name, (rewards, fit, route) in part.items():
            earned[name][outside] = rewards
            seconds[name] = seconds[name][0] + fit, seconds[name][1] + route
    earned[ORACLE] = np.nanmax(log.rewards, axis=1)
    grouped = len(set(log.groups)) < len(log)
    split = f"{count} folds by {'group' if grouped else 'prompt'}, seed {seed}"
    return Evaluation(log, earned, seconds, split)


def scored_on(
    log: RewardLog,
    test: RewardLog,
    routers: Sequence[str] = tuple(POLICIES),
    *,
    seed: int = 0,
    meaning: Meaning | None = None,
) -> Evaluation:
    """Fit each router on `log` and let it route `test`, both with the teachers they share.

    Raises ConfigError where they share none.
    """
    both = [name for name in log.teachers if name in test.teachers]
    if not both:
        raise ConfigError(
            f"no teacher is in both logs: the test has {', '.join(test.teachers)}, the log "
            f"{', '.join(log.teachers)}.",
            mend="Give logs of the same teachers.",
        )
    notes = [
        f"only in {where} and left out: {', '.join(names)}"
        for where, names in (
            ("the log", [name for name in log.teachers if name not in both]),
            ("the test", [name for name in test.teachers if name not in both]),
        )
        if names
    ]
    log, test = log.among(both), test.among(both)
    notes += _strangers(log, test)
    test = replace(test, notes=(*test.notes, *notes))
    shared = len(set(log.prompts.prompt_ids) & set(test.prompts.prompt_ids))
    split = "fitted on one log, tested on the other"
    if shared:
        split += f"; {shared:,} prompts of the test are in the fit too, so it flatters"
    found = _try_all(log, test, routers, seed, meaning)
    earned = {name: rewards for name, (rewards, _, _) in found.items()}
    earned[ORACLE] = np.nanmax(test.rewards, axis=1)
    seconds = {name: (fit, route) for name, (_, fit, route) in found.items()}
    return Evaluation(test, earned, seconds, split)


def _strangers(log: RewardLog, test: RewardLog) -> list[str]:
    """What stands in for languages of the test that the fit has no reward in."""
    known, tags = PooledMeans.of(log.prompts.languages, log.rewards), test.prompts.languages
    found = []
    for tag in sorted(set(tags)):
        if not known.knows(tag):
            instead = "its family" if family_of(tag) in known.families else "all languages"
            found.append(
                f"no reward in {tag} in the log: the {tags.count(tag):,} prompts of the test are "
                f"routed by the estimate of {instead}"
            )
    return found


def _try_all(
    log: RewardLog,
    test: RewardLog,
    routers: Sequence[str],
    seed: int,
    meaning: Meaning | None,
) -> dict[str, tuple[Matrix, float, float]]:
    heard = np.flatnonzero(log.present.any(axis=0))
    found = {}
    known = replace(
        log,
        teachers=tuple(log.teachers[column] for column in heard),
        rewards=log.rewards[:, heard],
    )
    for name in routers:
        begun = time.perf_counter()
        predict = policy(name, meaning)(known, seed)
        fitted = time.perf_counter()
        # A teacher without one reward in the fit is the last choice there.
        worth = np.full((len(test), len(log.teachers)), -np.inf)
        worth[:, heard] = predict(test.prompts)
        routed = time.perf_counter()
        found[name] = earned_by(worth, test), fitted - begun, routed - fitted
    return found


def earned_by(worth: Matrix, log: RewardLog) -> Matrix:
    """float64 [n]: the reward of each prompt by the teacher of most worth of those that have one.

    Where a teacher has no reward it could not be chosen: in a run it would have been masked. A row
    of NaN has no preference: the mean over its rewards.
    """
    none = np.isnan(worth).any(axis=1)
    open_to = np.where(log.present, np.where(np.isfinite(worth), worth, -1e300), -np.inf)
    chosen = best_column(open_to, np.zeros(open_to.shape[1]))
    best = log.rewards[np.arange(len(log)), chosen]
    earned: Matrix = np.where(none, np.nanmean(log.rewards, axis=1), best)
    return earned


def summarised(found: Evaluation, *, replicates: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The evaluation as JSON-like data.

    n_prompts, n_groups, teachers, split, notes, and routers: for each its mean_reward with ci95;
    regret (to the oracle); gap_closed, the share of fixed -> oracle (null where there is no gap),
    with gap_closed_ci95; vs_fixed and vs_best_single {difference, ci95, p}; per_language {tag:
    {n_prompts, mean_reward, ci95, vs_fixed {difference, ci95, p, p_holm}}}; seconds {fit, route}.

    Intervals are 95 % percentile bootstrap over groups, the same draws for all routers; p_holm is
    corrected over the languages. The oracle chooses by the very reward it is scored with, so with
    noisy rewards it is out of reach and gap_closed too small.
    """
    log, names = found.log, list(found.earned)
    table = np.column_stack([found.earned[name] for name in names])
    draws = resampled(table, log.groups, replicates=replicates, seed=seed)
    mean = dict(zip(names, table.mean(axis=0), strict=True))
    drawn = dict(zip(names, draws.means.T, strict=True))
    languages = _per_language(found, names, table, replicates, seed)
    routers: dict[str, Any] = {}
    for name in names:
        gap, gaps = mean[ORACLE] - mean["fixed"], drawn[ORACLE] - drawn["fixed"]
        over, overs = mean[name] - mean["fixed"], drawn[name] - drawn["fixed"]
        open_gap = gap > 1e-12
        shares = np.divide(overs, gaps, out=np.full_like(gaps, np.nan), where=gaps > 1e-12)
        routers[name] = {
            "mean_reward": float(mean[name]),
            "ci95": draws.interval(drawn[name]),
            "regret": float(mean[ORACLE] - mean[name]),
            "gap_closed": float(over / gap) if open_gap else None,
            "gap_closed_ci95": draws.interval(shares) if open_gap else None,
            "vs_fixed": _against(draws, over, overs),
            "vs_best_single": _against(
                draws, mean[name] - mean["best_single"], drawn[name] - drawn["best_single"]
            ),
            "per_language": languages[name],
        }
        if name in found.seconds:
            fit, route = found.seconds[name]
            routers[name]["seconds"] = {"fit": round(fit, 3), "route": round(route, 3)}
    return {
        "n_prompts": len(log),
        "n_groups": draws.groups,
        "teachers": list(log.teachers),
        "split": found.split,
        "notes": list(log.notes),
        "routers": routers,
    }


def _against(draws: Resampled, difference: float, drawn: Matrix) -> dict[str, Any]:
    there = draws.groups >= 2
    return {
        "difference": float(difference),
        "ci95": draws.interval(drawn),
        "p": two_sided(drawn, draws.groups) if there else None,
    }


def _per_language(
    found: Evaluation, names: list[str], table: Matrix, replicates: int, seed: int
) -> dict[str, dict[str, Any]]:
    tags = np.array(found.log.prompts.languages)
    groups = np.array(found.log.groups, dtype=object)
    base = names.index("fixed")
    languages: dict[str, dict[str, Any]] = {name: {} for name in names}
    known = sorted(set(found.log.prompts.languages))
    for tag in known:
        rows = np.flatnonzero(tags == tag)
        draws = resampled(
            table[rows],
            [str(group) for group in groups[rows]],
            replicates=replicates,
            seed=seed,
            tests=len(known),
        )
        for column, name in enumerate(names):
            own = table[rows, column]
            difference = float((own - table[rows, base]).mean())
            languages[name][tag] = {
                "n_prompts": len(rows),
                "mean_reward": float(own.mean()),
                "ci95": draws.interval(draws.means[:, column]),
                "vs_fixed": _against(
                    draws, difference, draws.means[:, column] - draws.means[:, base]
                ),
            }
    for by_tag in languages.values():
        tested = [tag for tag, cell in by_tag.items() if cell["vs_fixed"]["p"] is not None]
        corrected = holm([by_tag[tag]["vs_fixed"]["p"] for tag in tested])
        for tag, value in zip(tested, corrected, strict=True):
            by_tag[tag]["vs_fixed"]["p_holm"] = value
    return languages

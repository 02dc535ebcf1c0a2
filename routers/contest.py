"""Whether a new router may take over: both on the same rewards, held out, and the sentence why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.routers.bootstrap import holm, resampled, two_sided
from arbitrage.routers.evaluation import Evaluation, cross_validated, earned_by, summarised
from arbitrage.routers.models import Model
from arbitrage.routers.reward_log import RewardLog

IN_USE, BEST_SINGLE = "in_use", "best_single"
SURE = 0.05
_ROUTERS = ("uniform", BEST_SINGLE, "fixed")
_REPLICATES = 2000


@dataclass(frozen=True, slots=True)
class Contest:
    """A new router against the one in use (or the best single teacher where there is none).

    Attributes:
        rival: "in_use" or "best_single".
        n_prompts: prompts both are judged on, drawn at random, none of them in the new one's fit.
        reward, rival_reward: mean reward of each there.
        difference, ci95: of the two, paired; null where there are too few prompts.
        worse_in: languages in which the new one is surely below (Holm over languages, 5 %).
        promoted, why: the decision.
    """

    rival: str
    n_prompts: int
    reward: float
    rival_reward: float
    difference: float
    ci95: tuple[float, float] | None
    worse_in: tuple[str, ...]
    promoted: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judged(
    log: RewardLog,
    kind: str,
    *,
    in_use: Model | None = None,
    at_random: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> Evaluation:
    """What a new router of a kind, the baselines and the one in use earn, in the same folds.

    All prompts are learned from; earned is what the routers get on those drawn at random, because
    prompts chosen for the disagreement over them speak for no others. The router in use is not
    fitted again: where it was fitted on these very prompts that flatters it.

    Args:
        at_random: bool [n_prompts]; None = all were.

    Raises ConfigError with fewer than two such prompts that have a reward.
    """
    rows = np.arange(len(log)) if at_random is None else np.flatnonzero(at_random)
    if len({log.groups[row] for row in rows.tolist()}) < 2:
        raise ConfigError(
            f"{len(rows)} of the prompts drawn at random have a reward: too few to judge by.",
            mend="Raise calibrate.prompts, and see whether calibrate.reward was ever measured.",
        )
    found = cross_validated(log, tuple(dict.fromkeys((*_ROUTERS, kind))), seed=seed)
    earned = dict(found.earned)
    if in_use is not None:
        earned[IN_USE] = earned_by(worth_of(in_use, log), log)
    part = {name: values[rows] for name, values in earned.items()}
    split = found.split
    if len(rows) < len(log):
        split += f"; scored on the {len(rows):,} prompts drawn at random"
    return Evaluation(log.part(rows), part, found.seconds, split)


def worth_of(model: Model, log: RewardLog) -> NDArray[np.float64]:
    """float64 [n_prompts, n_teachers of the log]: what a model expects; -inf for a teacher that it
    does not know."""
    worth = np.full((len(log), len(log.teachers)), -np.inf)
    known = [column for column, name in enumerate(log.teachers) if name in model.teachers]
    columns = [model.teachers.index(log.teachers[column]) for column in known]
    worth[:, known] = model.expected(log.prompts)[:, columns]
    return worth


def contest(
    found: Evaluation, kind: str, *, max_loss: float = 0.0, min_reward: float | None = None
) -> Contest:
    """Decide from what both earned.

    Against an artefact in use: the mean must not be more than `max_loss` below, nor may any
    language be surely below. The first artefact must not be surely below the best single teacher.
    Either must reach `min_reward`, where given.
    """
    rival = IN_USE if IN_USE in found.earned else BEST_SINGLE
    mine, its = found.earned[kind], found.earned[rival]
    apart = mine - its
    draws = resampled(apart[:, None], found.log.groups, replicates=_REPLICATES)
    ci95, mean = draws.interval(), float(apart.mean())
    worse = tuple(_surely_below(found, apart)) if rival == IN_USE else ()
    promoted, why = _decided(rival, mean, ci95, worse, max_loss)
    reward = float(mine.mean())
    if promoted and min_reward is not None and reward < min_reward:
        promoted = False
        why = f"its mean reward, {reward:.4g}, is below calibrate.min_reward = {min_reward:g}"
    return Contest(rival, len(apart), reward, float(its.mean()), mean, ci95, worse, promoted, why)


def _decided(
    rival: str,
    mean: float,
    ci95: tuple[float, float] | None,
    worse: Sequence[str],
    max_loss: float,
) -> tuple[bool, str]:
    name = "the artefact in use" if rival == IN_USE else "the best single teacher"
    by = f"{mean:+.4g}" + (f" [{ci95[0]:+.4g}, {ci95[1]:+.4g}]" if ci95 else "")
    if rival == BEST_SINGLE:
        surely = mean < -max_loss if ci95 is None else ci95[1] < -max_loss
        if surely:
            return False, f"it is surely below {name}: {by}"
        return True, f"there was none in use, and it is not surely below {name}: {by}"
    if mean < -max_loss:
        return False, f"it earns less than {name}: {by}, tolerated {-max_loss:g}"
    if worse:
        return False, f"it is surely below {name} in {', '.join(worse)}, and {by} over all"
    if ci95 is not None and ci95[0] > 0:
        return True, f"it is surely better than {name}: {by}"
    return True, f"it is not worse than {name}: {by}, which may be chance"


def _surely_below(found: Evaluation, apart: NDArray[np.float64]) -> list[str]:
    tags = np.array(found.log.prompts.languages)
    tried, values, means = [], [], []
    known = sorted(set(found.log.prompts.languages))
    for tag in known:
        rows = np.flatnonzero(tags == tag)
        groups = [found.log.groups[row] for row in rows.tolist()]
        differences = apart[rows][:, None]
        draws = resampled(differences, groups, replicates=_REPLICATES, tests=len(known))
        if draws.groups >= 2:
            tried.append(tag)
            values.append(two_sided(draws.means[:, 0], draws.groups))
            means.append(float(apart[rows].mean()))
    corrected = holm(values) if values else []
    return [
        tag
        for tag, value, mean in zip(tried, corrected, means, strict=True)
        if value < SURE and mean < 0
    ]


def summary_of(found: Evaluation, seed: int = 0) -> dict[str, Any]:
    """The evaluation as the card's metrics."""
    return summarised(found, replicates=_REPLICATES, seed=seed)

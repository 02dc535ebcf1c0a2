"""Fitting the learned router: a head on top of `fixed`, and whether to trust it at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import IN_MEMORY, Design, Single, matrix_chunks
from arbitrage.routers.features import Vocabulary, features
from arbitrage.routers.folds import clustered_error, grouped_folds
from arbitrage.routers.heads import Head, fit_head, softmax, solve_normal
from arbitrage.routers.held_out import HeldOut, Setting, held_out, residual
from arbitrage.routers.models import Arrays, means_arrays, means_from, means_settings
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column
from arbitrage.routers.reward_log import RewardLog

INNER_FOLDS = 5
SHRINKAGES = (0.5, 1.0)
# Standard errors that the features must gain. One was too few on recorded boards: the best of
# twenty settings gains as much by luck (docs/routing.md).
NEEDED_ERRORS = 2.0
_NO_FEATURES = Vocabulary(np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Weighing:
    """What cross-validation inside the fit found. Rewards are means over held-out prompts.

    Attributes:
        trusted: "learned", "fixed" or "single".
        learned, fixed, single: reward of each.
        error: standard error of the learned one's gain over the better of the others.
        penalty, paired_share, shrinkage: the chosen setting of the learned one.
    """

    trusted: str
    learned: float
    fixed: float
    single: float
    error: float
    penalty: float = 0.0
    paired_share: float = 0.0
    shrinkage: float = 0.0


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """A fitted router: pooled means by language, and weights of a prompt's features on top.

    Attributes:
        weights: float32 [len(shared) + len(paired), n_teachers], shrinkage included; no rows where
            the fit trusts the means alone.
        temperature: of the softmax over expected rewards that says how likely each is the best.
    """

    teachers: tuple[str, ...]
    means: PooledMeans
    shared: Vocabulary
    paired: Vocabulary
    weights: Single
    temperature: float
    head: Head
    weighing: Weighing

    def expected(self, batch: PromptBatch) -> Matrix:
        """float64 [n, n_teachers]: expected reward; -inf where a teacher was never rated in the
        prompt's language though others were."""
        base = self.means.rows(batch.languages)
        if len(self.weights) and len(batch):
            for start, part in matrix_chunks(features(batch), self.shared, self.paired):
                base[start : start + len(part)] += part @ self.weights
        return base

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "weights": self.weights,
            "shared_bins": self.shared.bins,
            "shared_idf": self.shared.weights,
            "paired_bins": self.paired.bins,
            "paired_idf": self.paired.weights,
            **means_arrays(self.means),
        }

    def settings(self) -> dict[str, Any]:
        own = {"temperature": self.temperature, "head": self.head}
        return means_settings(self.means) | own | {"weighing": asdict(self.weighing)}

    @classmethod
    def of(
        cls, teachers: tuple[str, ...], arrays: Arrays, settings: Mapping[str, Any]
    ) -> LearnedModel:
        """The model that gave these `arrays()` and `settings()`."""
        return cls(
            teachers,
            means_from(arrays, settings),
            Vocabulary(arrays["shared_bins"], arrays["shared_idf"]),
            Vocabulary(arrays["paired_bins"], arrays["paired_idf"]),
            arrays["weights"],
            settings["temperature"],
            settings["head"],
            Weighing(**settings["weighing"]),
        )


def fit_learned(log: RewardLog, *, head: Head = "reward", seed: int = 0) -> LearnedModel:
    """Fit on all prompts of a log, with settings chosen by cross-validation inside it.

    Expected reward = mean of the teacher in the language, partially pooled, + shrinkage x
    features . weights. Do no harm: unless the features gain more than two standard errors over the
    best teacher per language and over the best teacher, held out, they are not used, and the
    better of those two is what remains (a stricter one-standard-error rule, Breiman et al. 1984).

    The heads "kl" and "pairs" learn from at most 20,000 prompts, drawn at random.
    """
    if head != "reward" and len(log) > IN_MEMORY:
        drawn = np.random.default_rng(seed).choice(len(log), IN_MEMORY, replace=False)
        log = log.part(np.sort(drawn))
    tags = log.prompts.languages
    means = PooledMeans.of(tags, log.rewards)
    folds = grouped_folds(log.groups, INNER_FOLDS, seed)
    none = np.zeros((0, len(log.teachers)), np.float32)
    if len(log.teachers) == 1 or folds.max() == 0 or _constant(log.rewards):
        level = float(np.nanmean(log.rewards))
        weighing = Weighing("fixed", level, level, level, float("inf"))
        plain = (_NO_FEATURES, _NO_FEATURES, none, 1.0, head, weighing)
        return LearnedModel(log.teachers, means, *plain)
    design = Design.of(log.prompts)
    found = held_out(log, design, folds, head)
    weighing = _weighed(log, found)
    shared, paired, weights, expected = _NO_FEATURES, _NO_FEATURES, none, found.fixed
    if weighing.trusted == "learned":
        setting = Setting(weighing.penalty, weighing.paired_share)
        shrinkage = np.float32(weighing.shrinkage)
        weights = _weights(log, design, means, setting, head) * shrinkage
        shared, paired = design.shared, design.paired
        expected = found.fixed + weighing.shrinkage * found.gains[setting]
    elif weighing.trusted == "single":
        means = PooledMeans.of(tags, log.rewards, borrowed=np.inf)
        expected = found.single
    temperature = _temperature(expected, log.rewards)
    return LearnedModel(log.teachers, means, shared, paired, weights, temperature, head, weighing)


def _constant(rewards: Matrix) -> bool:
    return bool(np.nanmin(rewards) == np.nanmax(rewards))


def _weights(
    log: RewardLog, design: Design, means: PooledMeans, setting: Setting, head: Head
) -> Single:
    scale = design.scale(setting.paired_share)
    base = means.rows(log.prompts.languages)
    if design.matrix is not None:
        scaled = design.matrix * scale
        return fit_head(head, scaled, log.rewards, base, setting.penalty) * scale[:, None]
    gram = np.zeros((design.width, design.width), np.float32)
    right = np.zeros((design.width, len(log.teachers)), np.float32)
    for start, part in design.chunks():
        rows = slice(start, start + len(part))
        gram += part.T @ part
        right += part.T @ residual(log.rewards[rows], base[rows])
    solved = solve_normal(gram * scale[:, None] * scale, right * scale[:, None], setting.penalty)
    return solved * scale[:, None]


def _weighed(log: RewardLog, found: HeldOut) -> Weighing:
    """The best setting, and whether it gains enough to be trusted."""
    single, fixed = _earned(log, found.single), _earned(log, found.fixed)
    best, kept = -np.inf, (next(iter(found.gains)), SHRINKAGES[0])
    for setting, gain in found.gains.items():
        for shrinkage in SHRINKAGES:
            mean = float(_earned(log, found.fixed + shrinkage * gain).mean())
            if mean > best:
                best, kept = mean, (setting, shrinkage)
    setting, shrinkage = kept
    learned = _earned(log, found.fixed + shrinkage * found.gains[setting])
    groups = np.unique(np.array(log.groups, dtype=object), return_inverse=True)[1]
    other = fixed if fixed.mean() >= single.mean() else single
    error = clustered_error(learned - other, groups)
    trusted = "fixed" if other is fixed else "single"
    if learned.mean() - other.mean() > NEEDED_ERRORS * error:
        trusted = "learned"
    means = float(learned.mean()), float(fixed.mean()), float(single.mean())
    return Weighing(trusted, *means, error, setting.penalty, setting.paired_share, shrinkage)


def _earned(log: RewardLog, expected: Matrix) -> Matrix:
    """The reward of each prompt by the best expected of the teachers that have one."""
    open_to = np.where(log.present, expected, -np.inf)
    # Where only teachers are rated that were never rated in the fit, any of them.
    open_to = np.where(log.present & ~np.isfinite(open_to), -1e300, open_to)
    chosen = best_column(open_to, np.zeros(open_to.shape[1]))
    earned: Matrix = log.rewards[np.arange(len(log)), chosen]
    return earned


def _temperature(expected: Matrix, rewards: Matrix) -> float:
    """The temperature at which softmax(expected) is most likely to name the best teacher.

    Of several best ones each counts its part. Chosen among 25 steps, on held-out prompts.
    """
    there = ~np.isnan(rewards) & np.isfinite(expected)
    rewards = np.where(there, rewards, -np.inf)
    best = there & (rewards == rewards.max(axis=1, keepdims=True))
    some = best.any(axis=1)
    best, scores = best[some], np.where(there, expected, -np.inf)[some]
    if not some.any():
        return 1.0
    share = best / best.sum(axis=1, keepdims=True)
    unit = float(np.std(scores[np.isfinite(scores)])) or 1.0
    steps: NDArray[np.float64] = unit * np.logspace(-1.5, 1.5, 25)

    def loss(temperature: float) -> float:
        likely = np.log(np.maximum(softmax(scores / temperature), 1e-12))
        return float(-(share * likely).sum(axis=1).mean())

    return float(min(steps, key=loss))

"""Predictions for held-out prompts at every setting of a head, by cross-validation in the fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.clusters import Clusters
from arbitrage.routers.design import Design, Single
from arbitrage.routers.heads import Head, fit_head, solve_normal
from arbitrage.routers.pooling import Matrix, PooledMeans, residual
from arbitrage.routers.reward_log import RewardLog

PENALTIES = (1.5, 6.0, 25.0, 100.0)
PAIRED_SHARES = (0.0, 0.3)
# Without embeddings, and with: they may always turn out to be of no use.
DENSE_SHARES = (0.0, 1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a head: ridge penalty, and the shares of prior variance of the paired weights
    and of those of embeddings."""

    penalty: float
    paired_share: float
    dense_share: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was predicted for each prompt by fits that had not seen its group.

    Attributes:
        single, fixed: float64 [n, n_teachers], pooled means without and with the language.
        gains: setting -> float32 [n, n_teachers], to be added to `fixed`.
        clustered: float32 [n, n_teachers], what the prompt's cluster gains, likewise.
    """

    single: Matrix
    fixed: Matrix
    gains: dict[Setting, Single]
    clustered: Single


def held_out(
    log: RewardLog, design: Design, clusters: Clusters, folds: NDArray[np.intp], head: Head
) -> HeldOut:
    """Predict every prompt by fits on the other folds, at every setting.

    Vocabulary and clusters are those of all prompts: they are made without looking at a reward.
    """
    tags = log.prompts.languages
    single, fixed = np.empty_like(log.rewards), np.empty_like(log.rewards)
    clustered = np.zeros(log.rewards.shape, np.float32)
    member = clusters.place(design.counts)
    bases = []
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        inside = [tag for tag, gone in zip(tags, out, strict=True) if not gone]
        means = PooledMeans.of(inside, log.rewards[~out])
        base = means.rows(tags)
        bases.append(base)
        fixed[out], single[out] = base[out], means.overall
        left = residual(log.rewards[~out], base[~out])
        clustered[out] = clusters.gains(member[~out], left)[member[out]]
    shares = [
        (paired, dense)
        for dense in (DENSE_SHARES if design.dense.shape[1] else (0.0,))
        for paired in (PAIRED_SHARES if len(design.paired) else (0.0,))
    ]
    settings = [Setting(penalty, *share) for share in shares for penalty in PENALTIES]
    gains = {setting: np.zeros(log.rewards.shape, np.float32) for setting in settings}
    if head == "reward":
        by_rows = design.matrix is not None and len(log) <= design.width
        make = _by_rows if by_rows else _by_columns
        for setting, rows, found in make(log, design, folds, bases, shares):
            gains[setting][rows] = found
    else:
        for setting in settings:
            scaled = np.vstack([part for _, part in design.chunks()]) * design.scale(
                setting.paired_share, setting.dense_share
            )
            for fold, base in enumerate(bases):
                out = folds == fold
                seen = scaled[~out], log.rewards[~out], base[~out]
                gains[setting][out] = scaled[out] @ fit_head(head, *seen, setting.penalty)
    return HeldOut(single, fixed, gains, clustered)


def _by_rows(
    log: RewardLog,
    design: Design,
    folds: NDArray[np.intp],
    bases: list[Matrix],
    shares: Sequence[tuple[float, float]],
) -> Iterator[tuple[Setting, NDArray[np.intp], Single]]:
    """Ridge in its dual: few prompts, so one matrix of their products serves all settings."""
    matrix = next(design.chunks())[1]
    words, split = len(design.shared), len(design.shared) + len(design.paired)
    common = matrix[:, :words] @ matrix[:, :words].T
    own = matrix[:, words:split] @ matrix[:, words:split].T
    alike = matrix[:, split:] @ matrix[:, split:].T
    for paired, dense in shares:
        products = common + np.float32(paired) * own + np.float32(dense) * alike
        for fold, base in enumerate(bases):
            out = folds == fold
            inside, across = products[np.ix_(~out, ~out)], products[np.ix_(out, ~out)]
            target = residual(log.rewards, base)[~out]
            for penalty in PENALTIES:
                yield (
                    Setting(penalty, paired, dense),
                    np.flatnonzero(out),
                    across @ solve_normal(inside, target, penalty),
                )


def _by_columns(
    log: RewardLog,
    design: Design,
    folds: NDArray[np.intp],
    bases: list[Matrix],
    shares: Sequence[tuple[float, float]],
) -> Iterator[tuple[Setting, NDArray[np.intp], Single]]:
    """Ridge by normal equations: one matrix a fold, summed over all folds but one."""
    grams = np.zeros((len(bases), design.width, design.width), np.float32)
    rights = np.zeros((len(bases), design.width, log.rewards.shape[1]), np.float32)
    for start, part in design.chunks():
        rows = slice(start, start + len(part))
        for fold, base in enumerate(bases):
            here = folds[rows] == fold
            grams[fold] += part[here].T @ part[here]
            target = residual(log.rewards[rows], base[rows])
            target[here] = 0
            rights[fold] += part.T @ target
    whole = grams.sum(axis=0)
    solved: dict[tuple[int, Setting], Single] = {}
    for share in shares:
        scale = design.scale(*share)
        for fold in range(len(bases)):
            inside = (whole - grams[fold]) * scale[:, None] * scale
            right = rights[fold] * scale[:, None]
            for penalty in PENALTIES:
                weights = solve_normal(inside, right, penalty) * scale[:, None]
                solved[fold, Setting(penalty, *share)] = weights
    for start, part in design.chunks():
        here = np.arange(start, start + len(part))
        for (fold, setting), weights in solved.items():
            mine = folds[here] == fold
            yield setting, here[mine], part[mine] @ weights

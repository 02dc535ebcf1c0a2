"""Predictions for held-out prompts at every setting of a head, by cross-validation in the fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.design import Design, Shares
from arbitrage.routers.heads import Head, fit_head
from arbitrage.routers.pooling import Matrix, PooledMeans, residual
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.ridges import Ridge, held_out_ridges
from arbitrage.routers.sources import coded, gains_of, told_held_out
from arbitrage.routers.word_columns import Single

PENALTIES = (1.5, 6.0, 25.0, 50.0, 100.0)
PAIRED_SHARES = (0.0, 0.3)
LIKENESS_SHARES = (0.0, 3.0)
# Without embeddings, and with: they may always turn out to be of no use.
DENSE_SHARES = (0.0, 1.0, 3.0)
_NOTHING = Shares(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a head: ridge penalty, prior variances of the weights, and whether it stands
    on top of the data sets' gains or on the language's means alone. Without a penalty there are no
    weights: the data sets' gains are all."""

    penalty: float | None
    shares: Shares
    sourced: bool

    @property
    def ridge(self) -> Ridge | None:
        return None if self.penalty is None else Ridge(self.penalty, self.shares)

    def columns(self, width: int) -> slice:
        """Its own among `targets_of`, of `width` teachers."""
        return slice(width, 2 * width) if self.sourced else slice(0, width)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was predicted for each prompt by fits that had not seen its group.

    Attributes:
        single, fixed: float64 [n, n_teachers], pooled means without and with the language.
        gains: setting -> float32 [n, n_teachers], to be added to `fixed`.
        told_apart: share of prompts whose data set was the likeliest.
    """

    single: Matrix
    fixed: Matrix
    gains: dict[Setting, Single]
    told_apart: float


def held_out(log: RewardLog, design: Design, folds: NDArray[np.intp], head: Head) -> HeldOut:
    """Predict every prompt by fits on the other folds, at every setting."""
    tags, width = log.prompts.languages, len(log.teachers)
    names, member = coded(log.sources)
    single, fixed = np.empty_like(log.rewards), np.empty_like(log.rewards)
    starts: list[tuple[Matrix, ...]] = []
    gains: list[Single] = []
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        inside = [tag for tag, gone in zip(tags, out, strict=True) if not gone]
        means = PooledMeans.of(inside, log.rewards[~out])
        base = means.rows(tags)
        fixed[out], single[out] = base[out], means.overall
        left = residual(log.rewards[~out], base[~out])
        gains.append(gains_of(member[~out], len(names), left))
        # In the fit the data set is known; what words add is learned beyond its gain.
        starts.append((base, base + gains[fold][member]) if names else (base,))
    found = {
        setting: np.zeros(log.rewards.shape, np.float32) for setting in settings(design, names)
    }
    by_ridge: dict[Ridge, list[Setting]] = {}
    for setting in found if head == "reward" else ():
        if setting.ridge is not None:
            by_ridge.setdefault(setting.ridge, []).append(setting)
    targets = [partial(targets_of, log, of_fold) for of_fold in starts]
    for ridge, rows, made in held_out_ridges(design, folds, targets, list(by_ridge)):
        for setting in by_ridge[ridge]:
            found[setting][rows] = made[:, setting.columns(width)]
    if head != "reward":
        _by_head(log, design, (folds, starts), head, found)
    if not names:
        return HeldOut(single, fixed, found, 0.0)
    chances = told_held_out(design, folds, member, len(names))
    more = np.empty_like(fixed)
    for fold, of_fold in enumerate(gains):
        more[folds == fold] = chances[folds == fold] @ of_fold
    for setting in found:
        if setting.sourced:
            found[setting] += more.astype(np.float32)
    return HeldOut(single, fixed, found, float((chances.argmax(axis=1) == member).mean()))


def _by_head(
    log: RewardLog,
    design: Design,
    split: tuple[NDArray[np.intp], Sequence[Sequence[Matrix]]],
    head: Head,
    found: Mapping[Setting, Single],
) -> None:
    """Fill in what a head that is no ridge predicts, of the folds and what each starts from."""
    folds, starts = split
    matrix = np.vstack([part for _, part in design.chunks()])
    for setting, gain in found.items():
        if setting.penalty is None:
            continue
        scaled = matrix * design.scale(setting.shares)
        for fold, of_fold in enumerate(starts):
            out = folds == fold
            seen = scaled[~out], log.rewards[~out], of_fold[setting.sourced][~out]
            gain[out] = scaled[out] @ fit_head(head, *seen, setting.penalty)


def settings(design: Design, names: Sequence[str]) -> Iterator[Setting]:
    """Those that there are columns and data sets for."""
    _, paired, likeness, dense = (bool(width) for width in design.widths)
    if names:
        yield Setting(None, _NOTHING, sourced=True)
    for sourced in (False, True) if names else (False,):
        for own in PAIRED_SHARES if paired else (0.0,):
            for alike in LIKENESS_SHARES if likeness else (0.0,):
                for meant in DENSE_SHARES if dense else (0.0,):
                    for penalty in PENALTIES:
                        yield Setting(penalty, Shares(own, alike, meant), sourced)


def targets_of(log: RewardLog, starts: Sequence[Matrix], rows: slice) -> Single:
    """float32 [rows, len(starts) * n_teachers]: what rewards are beyond each start."""
    return np.hstack([residual(log.rewards[rows], start[rows]) for start in starts])

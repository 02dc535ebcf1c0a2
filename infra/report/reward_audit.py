"""How far a reward may be trusted: accuracy on pairs that people judged, per language.

Source: the protocol of RewardBench (arXiv 2403.13787) and M-RewardBench (arXiv 2410.15522): a
reward is right about a pair where it gives the chosen answer more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from arbitrage.intervals import (
    BOOTSTRAPPED,
    bootstrap_means,
    linear_errors,
    normal_interval,
    percentile_interval,
    wilson_interval,
)

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]

# Under so many prompts a bootstrap over them is too sure of itself.
_FEWEST_PROMPTS = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """One reward's answers on every pair.

    Attributes:
        name: what the reward is called.
        differences: float64 [n], reward of the chosen answer less that of the rejected one; NaN
            where one of them was not measured.
        swapped: the same with the rejected answer shown first; None where a reward sees one answer
            at a time, so that there is no order.
    """

    name: str
    differences: Values
    swapped: Values | None = None

    @property
    def verdicts(self) -> Values:
        """1 where the reward is right, 0 wrong, 0.5 a tie, NaN not measured; with both orders, by
        the sum of both differences, so that a judge who favours a place says nothing."""
        total = self.differences if self.swapped is None else self.differences + self.swapped
        return np.where(np.isnan(total), np.nan, (np.sign(total) + 1) / 2)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a reward is worth on some of the pairs. Shares are 0..1, None where there is nothing.

    Attributes:
        pairs: measured ones; `unmeasured` are left out of everything else.
        prompts: different prompts among them.
        ties: measured pairs that the reward does not tell apart; each counts half.
        accuracy, low, high: share of the pairs it is right about, and the 95 % interval.
        longer, shorter: pairs whose chosen answer has more, or fewer, characters.
        accuracy_longer, accuracy_shorter: accuracy on those.
        length_gap, gap_low, gap_high: the first less the second, 95 % bootstrap over prompts.
        spearman: rank correlation of reward difference and length difference, every pair taken in
            both orders, so that which answer people chose does not enter.
        same_both_orders: share of the pairs with the same verdict whichever answer is shown first.
        first_preferred: share of verdicts for the answer shown first, ties halved; 0.5 = no bias.
    """

    pairs: int
    unmeasured: int
    prompts: int
    ties: int
    accuracy: float | None
    low: float | None
    high: float | None
    longer: int
    shorter: int
    accuracy_longer: float | None
    accuracy_shorter: float | None
    length_gap: float | None
    gap_low: float | None
    gap_high: float | None
    spearman: float | None
    same_both_orders: float | None
    first_preferred: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa of two rewards' verdicts (right, tie, wrong) on the pairs both measured.

    `agreement` is the raw share of equal verdicts. Kappa is what is left of it beyond what two
    rewards of these accuracies would agree on by chance: 0 = their errors are unrelated. None
    where either gives the same verdict everywhere.
    """

    one: str
    other: str
    language: str
    pairs: int
    agreement: float | None
    kappa: float | None
    low: float | None
    high: float | None


def accuracy_of(
    judged: Judged, lengths: Values, prompts: Sequence[str], rows: Rows, seed: int = 0
) -> Accuracy:
    """A reward on the pairs at `rows`.

    The interval of the accuracy is Wilson's where no prompt has two pairs and nothing ties;
    otherwise it is drawn over prompts (bootstrap, above 200 prompts its normal approximation);
    under 20 prompts, or at 0 and 1, Wilson's with prompts as trials.

    Args:
        lengths: float64 [n], characters of the chosen answer less those of the rejected one.
        prompts: of every pair, equal where two pairs answer the same prompt.
    """
    verdicts = judged.verdicts[rows]
    known = ~np.isnan(verdicts)
    right, longer = verdicts[known], lengths[rows][known]
    groups = _codes([prompts[row] for row in rows[known].tolist()])
    differences = judged.differences[rows][known]
    sides = (longer > 0, longer < 0)
    low, high = _interval(right, groups, seed)
    gap = _gap(right, sides, groups, seed)
    same = first = None
    if judged.swapped is not None and len(right):
        swapped = judged.swapped[rows][known]
        same = float(np.mean(np.sign(differences) == np.sign(swapped)))
        # With the rejected answer first, the verdict for the first one is a negative difference.
        first = float(np.mean([(np.sign(differences) + 1) / 2, (1 - np.sign(swapped)) / 2]))
        differences = differences + swapped
    return Accuracy(
        pairs=len(right),
        unmeasured=int((~known).sum()),
        prompts=len(np.unique(groups)),
        ties=int((right == 0.5).sum()),
        accuracy=_mean(right),
        low=low,
        high=high,
        longer=int(sides[0].sum()),
        shorter=int(sides[1].sum()),
        accuracy_longer=_mean(right[sides[0]]),
        accuracy_shorter=_mean(right[sides[1]]),
        length_gap=gap[0],
        gap_low=gap[1],
        gap_high=gap[2],
        spearman=spearman(differences, longer),
        same_both_orders=same,
        first_preferred=first,
    )


def spearman(one: Values, other: Values) -> float | None:
    """Rank correlation of two differences over pairs taken in both orders; None where one is 0
    everywhere. Ties share their mean rank.

    >>> spearman(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    1.0
    """
    left = _ranks(np.concatenate([one, -one]))
    right = _ranks(np.concatenate([other, -other]))
    left, right = left - (len(left) + 1) / 2, right - (len(right) + 1) / 2
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / scale if scale else None


def agreements(
    judged: Sequence[Judged], languages: Sequence[tuple[str, Rows]], prompts: Sequence[str]
) -> list[Agreement]:
    """Every two rewards in every named part of the pairs; intervals by bootstrap over prompts."""
    return [
        _agreement(one, other, language, rows, prompts)
        for one, other in combinations(judged, 2)
        for language, rows in languages
    ]


def kappa(shares: Values) -> Values:
    """Cohen's kappa of tables of shares, float64 [..., k, k] to [...]; NaN where chance alone
    explains all of it.

    >>> kappa(np.array([[0.5, 0.0], [0.0, 0.5]])).item()
    1.0
    """
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Values = np.where(
            expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan
        )
    return found


def _agreement(
    one: Judged, other: Judged, language: str, rows: Rows, prompts: Sequence[str]
) -> Agreement:
    left, right = one.verdicts[rows], other.verdicts[rows]
    known = ~(np.isnan(left) | np.isnan(right))
    count = int(known.sum())
    if not count:
        return Agreement(one.name, other.name, language, 0, None, None, None, None)
    cells = (left[known] * 6 + right[known] * 2).astype(np.int64)
    indicators = np.zeros((count, 9))
    indicators[np.arange(count), cells] = 1.0
    groups = _codes([prompts[row] for row in rows[known].tolist()])
    shares = indicators.mean(axis=0).reshape(3, 3)
    value = float(kappa(shares))
    low = high = math.nan
    if not math.isnan(value) and groups.max() >= 1:
        sums, counts = _by_prompt(indicators, np.ones_like(indicators), groups)
        low, high = percentile_interval(
            kappa(bootstrap_means(sums, counts, seed=0).reshape(-1, 3, 3))
        )
    return Agreement(
        one.name,
        other.name,
        language,
        count,
        float(np.trace(shares)),
        *(None if math.isnan(number) else number for number in (value, low, high)),
    )


def _interval(right: Values, groups: Rows, seed: int) -> tuple[float | None, float | None]:
    if not len(right):
        return None, None
    value, prompts = float(right.mean()), len(np.unique(groups))
    if prompts == len(right) and not (right == 0.5).any():
        return wilson_interval(value, len(right))
    if prompts < _FEWEST_PROMPTS or value in {0.0, 1.0}:
        return wilson_interval(value, prompts)
    sums, counts = _by_prompt(right[:, None], np.ones((len(right), 1)), groups)
    if prompts > BOOTSTRAPPED:
        low, high = normal_interval(value, linear_errors(sums, counts)[:, 0])
    else:
        low, high = percentile_interval(bootstrap_means(sums, counts, seed)[:, 0])
    return max(0.0, low), min(1.0, high)


def _gap(
    right: Values, sides: tuple[Mask, Mask], groups: Rows, seed: int
) -> tuple[float | None, float | None, float | None]:
    """Accuracy where the chosen answer is longer less that where it is shorter."""
    if not all(side.any() for side in sides):
        return None, None, None
    gap = float(right[sides[0]].mean() - right[sides[1]].mean())
    inside = np.stack(sides, axis=1).astype(np.float64)
    sums, counts = _by_prompt(right[:, None] * inside, inside, groups)
    if len(sums) < _FEWEST_PROMPTS:
        return gap, None, None
    if len(sums) > BOOTSTRAPPED:
        errors = linear_errors(sums, counts)
        return gap, *normal_interval(gap, errors[:, 0] - errors[:, 1])
    means = bootstrap_means(sums, counts, seed)
    return gap, *percentile_interval(means[:, 0] - means[:, 1])


def _by_prompt(values: Values, counts: Values, groups: Rows) -> tuple[Values, Values]:
    prompts = int(groups.max()) + 1
    summed, counted = np.zeros((prompts, values.shape[1])), np.zeros((prompts, values.shape[1]))
    np.add.at(summed, groups, values)
    np.add.at(counted, groups, counts)
    return summed, counted


def _codes(names: Sequence[str]) -> Rows:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _mean(values: Values) -> float | None:
    return float(values.mean()) if len(values) else None


def _ranks(values: Values) -> Values:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Values = (last - (counts - 1) / 2)[places]
    return ranks

"""Groups of answers to one prompt: leave-one-out advantages, and per-prompt lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.infra.views.base import Rewards
from arbitrage.infra.views.shard import Mask, Rows, codes_of


@dataclass(frozen=True, slots=True)
class Groups:
    """Candidates by prompt, prompts in the order of their first candidate.

    Attributes:
        rows: int64 [n] rows of the candidates, one group after the other.
        offsets: int64 [groups + 1] where each group begins.
    """

    rows: Rows
    offsets: Rows

    @property
    def sizes(self) -> Rows:
        return np.diff(self.offsets)

    def window(self, first: int, last: int) -> Groups:
        """The groups from `first` up to, not with, `last`."""
        offsets = self.offsets[first : last + 1]
        return Groups(self.rows[offsets[0] : offsets[-1]], offsets - offsets[0])

    def only(self, kept: Mask) -> Groups:
        """The groups where `kept`."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes[kept])])
        return Groups(self.rows[np.repeat(kept, self.sizes)], offsets)


def groups_of(candidates: pa.Table, usable: Mask, least: int) -> Groups:
    """The usable candidates of each prompt that has at least `least` of them."""
    codes, _ = codes_of(candidates["prompt_id"])
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))
    groups = Groups(rows, np.append(starts, len(rows)))
    return groups.only(groups.sizes >= least)


def leave_one_out(rewards: Rewards, groups: Groups) -> NDArray[np.float64]:
    """float64 [len(groups.rows)]: each reward less the mean of the others of its group (k >= 2).

    Source: REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024): r_i - mean of the
    other k - 1 = k / (k - 1) * (r_i - mean of all k). A group's advantages sum to 0, up to
    rounding, and are exactly 0 where its rewards are equal.
    """
    values, sizes = rewards[groups.rows], groups.sizes
    if not len(sizes):
        return np.empty(0)
    # The distance from the group's first reward: equal rewards then give 0 and not a rounding.
    apart = values - np.repeat(values[groups.offsets[:-1]], sizes)
    means = np.repeat(np.add.reduceat(apart, groups.offsets[:-1]) / sizes, sizes)
    k = np.repeat(sizes, sizes)
    advantages: NDArray[np.float64] = (apart - means) * (k / (k - 1))
    return advantages

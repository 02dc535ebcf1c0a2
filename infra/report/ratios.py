"""Ratios of sums over prompts with their errors, from sums alone: no prompt is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Ratios:
    """What means of per-prompt sums need of any number of prompts, in memory of one size.

    A prompt has, in each of some columns, a sum of values and how many they are. `linear_errors` of
    `arbitrage.intervals` gives a prompt's part in the error of sum / count; their squares and
    products are here reckoned from second moments of sums and counts, added up as prompts come. So
    that nothing is lost where values are far from 0, sums are taken less a guess of the mean times
    the count, the guess being the mean of what comes first (Chan, Golub and LeVeque 1983,
    "Algorithms for Computing the Sample Variance", shifted data).

    Attributes:
        prompts: how many were added.
        sums, counts: float64 [columns], over all prompts.
        measured: int64 [columns], prompts with a count above 0.
        positive, negative: bool [columns], no prompt's sum is below 0, above 0.
    """

    def __init__(self, columns: int = 0) -> None:
        self.prompts = 0
        self.sums, self.counts = np.zeros(columns), np.zeros(columns)
        self.measured = np.zeros(columns, np.int64)
        self.positive, self.negative = np.ones(columns, np.bool_), np.ones(columns, np.bool_)
        self._guess = np.zeros(columns)
        # Products of all columns of [sums less guess x count | counts].
        self._moments = np.zeros((2, columns, 2, columns))

    @property
    def columns(self) -> int:
        return len(self.sums)

    @property
    def means(self) -> Values:
        """float64 [columns]; NaN where nothing was measured."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means: Values = self.sums / self.counts
        return means

    def widen(self, columns: int) -> None:
        """Have so many columns more; the prompts that were added have nothing in them."""
        for name in ("sums", "counts", "measured", "_guess"):
            setattr(self, name, np.pad(getattr(self, name), (0, columns)))
        for name in ("positive", "negative"):
            setattr(self, name, np.pad(getattr(self, name), (0, columns), constant_values=True))
        wider = (0, columns)
        self._moments = np.pad(self._moments, ((0, 0), wider, (0, 0), wider))

    def add(self, sums: Values, counts: Values) -> None:
        """Add prompts: sums and counts [prompts, columns], both 0 where nothing was measured."""
        first = (self.counts == 0) & (counts.sum(axis=0) > 0)
        if first.any():
            found = sums.sum(axis=0)[first] / counts.sum(axis=0)[first]
            self._guess[first] = np.where(np.isfinite(found), found, 0.0)
        self.prompts += len(sums)
        self.sums += sums.sum(axis=0)
        self.counts += counts.sum(axis=0)
        self.measured += (counts > 0).sum(axis=0)
        self.positive &= (sums >= 0).all(axis=0)
        self.negative &= (sums <= 0).all(axis=0)
        both = np.concatenate([sums - counts * self._guess, counts], axis=1)
        with np.errstate(invalid="ignore"):  # an infinite score leaves its columns without errors
            self._moments += (both.T @ both).reshape(self._moments.shape)

    def products(
        self,
        columns: Numbers | slice = slice(None),
        means: Values | None = None,
        totals: Values | None = None,
    ) -> Values:
        """Sums over prompts of the products of all pairs of columns' errors, [columns, columns].

        Args:
            columns: which ones.
            means, totals: in place of the columns' own, of the same length as `columns`.
        """
        means = self.means[columns] if means is None else means
        totals = self.counts[columns] if totals is None else totals
        own, cross, often = (
            self._moments[one][columns, other][:, columns]
            for one, other in ((0, 0), (0, 1), (1, 1))
        )
        off = means - self._guess[columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            mixed = cross * off
            found: Values = (own - mixed - mixed.T + often * np.outer(off, off)) / np.outer(
                totals, totals
            )
        return found

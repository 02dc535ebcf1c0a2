"""Many ridges over one feature matrix: whole, or each fold held out in turn.

They differ in penalty and in the prior variance of groups of columns; the sums over prompts, which
take the time, are made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.design import Design, Shares
from arbitrage.routers.heads import solve_normal
from arbitrage.routers.word_columns import Single

# Of the prompts at some rows: float32 [rows, targets].
Targets = Callable[[slice], Single]


@dataclass(frozen=True, slots=True)
class Ridge:
    """Weights that minimise |features W - targets|^2 + penalty |W|^2 over columns whose prior
    variances are `shares`."""

    penalty: float
    shares: Shares


def fit_ridges(
    design: Design, targets: Targets, wanted: Sequence[Ridge]
) -> Iterator[tuple[Ridge, Single]]:
    """(ridge, its weights float32 [design.width, targets]) of fits to all prompts."""
    if not wanted:
        return
    if _by_rows(design):
        _, matrix = next(design.chunks())
        products, own = _products(design, matrix), targets(slice(0, len(matrix)))
        for ridge in wanted:
            solved = matrix.T @ solve_normal(products(ridge.shares), own, ridge.penalty)
            yield ridge, solved * np.square(design.scale(ridge.shares))[:, None]
        return
    gram = np.zeros((design.width, design.width), np.float32)
    right = np.zeros((design.width, targets(slice(0, 1)).shape[1]), np.float32)
    for start, chunk in design.chunks():
        gram += chunk.T @ chunk
        right += chunk.T @ targets(slice(start, start + len(chunk)))
    for ridge in wanted:
        yield ridge, _solved(design, gram, right, ridge)


def held_out_ridges(
    design: Design, folds: NDArray[np.intp], targets: Sequence[Targets], wanted: Sequence[Ridge]
) -> Iterator[tuple[Ridge, NDArray[np.intp], Single]]:
    """(ridge, rows, its predictions float32 [rows, targets]) of fits that had not seen the fold.

    Args:
        folds: of each prompt.
        targets: of each fold that is held out.
    """
    if not wanted:
        return iter(())
    make = _held_out_by_rows if _by_rows(design) else _held_out_by_columns
    return make(design, folds, targets, wanted)


def _by_rows(design: Design) -> bool:
    """Whether prompts are fewer than columns, and sums over columns smaller."""
    return design.matrix is not None and len(design.matrix) <= design.width


def _products(design: Design, matrix: Single) -> Callable[[Shares], Single]:
    """Of every two prompts, for any shares: one product of matrices a group of columns."""
    ends = np.cumsum(design.widths)[:-1]
    words, paired, likeness, dense = (group @ group.T for group in np.split(matrix, ends, axis=1))

    def weighed(shares: Shares) -> Single:
        found: Single = (
            words
            + np.float32(shares.paired) * paired
            + np.float32(shares.likeness) * likeness
            + np.float32(shares.dense) * dense
        )
        return found

    return weighed


def _solved(design: Design, gram: Single, right: Single, ridge: Ridge) -> Single:
    """float32 [width, targets]: weights, by the normal equations."""
    scale = design.scale(ridge.shares)
    there = np.flatnonzero(scale)
    scale = scale[there]
    inside = gram[np.ix_(there, there)] * scale[:, None] * scale
    solved = solve_normal(inside, right[there] * scale[:, None], ridge.penalty)
    weights = np.zeros((design.width, solved.shape[1]), np.float32)
    weights[there] = solved * scale[:, None]
    return weights


def _held_out_by_rows(
    design: Design, folds: NDArray[np.intp], targets: Sequence[Targets], wanted: Sequence[Ridge]
) -> Iterator[tuple[Ridge, NDArray[np.intp], Single]]:
    _, matrix = next(design.chunks())
    products = _products(design, matrix)
    whole = [of_fold(slice(0, len(matrix))) for of_fold in targets]
    for shares in dict.fromkeys(ridge.shares for ridge in wanted):
        every = products(shares)
        for fold, target in enumerate(whole):
            out = folds == fold
            inside, across = every[np.ix_(~out, ~out)], every[np.ix_(out, ~out)]
            for ridge in wanted:
                if ridge.shares == shares:
                    solved = solve_normal(inside, target[~out], ridge.penalty)
                    yield ridge, np.flatnonzero(out), across @ solved


def _held_out_by_columns(
    design: Design, folds: NDArray[np.intp], targets: Sequence[Targets], wanted: Sequence[Ridge]
) -> Iterator[tuple[Ridge, NDArray[np.intp], Single]]:
    """One matrix of sums a fold; a fit has the sums of all folds but one."""
    grams = np.zeros((len(targets), design.width, design.width), np.float32)
    every = targets[0](slice(0, 1)).shape[1]
    rights = np.zeros((len(targets), design.width, every), np.float32)
    for start, chunk in design.chunks():
        rows = slice(start, start + len(chunk))
        for fold, of_fold in enumerate(targets):
            here = folds[rows] == fold
            grams[fold] += chunk[here].T @ chunk[here]
            rights[fold] += chunk[~here].T @ of_fold(rows)[~here]
    whole = grams.sum(axis=0)
    solved: dict[tuple[int, Ridge], Single] = {}
    for fold, right in enumerate(rights):
        inside = whole - grams[fold]
        for ridge in wanted:
            solved[fold, ridge] = _solved(design, inside, right, ridge)
    for start, chunk in design.chunks():
        here = np.arange(start, start + len(chunk))
        for (fold, ridge), weights in solved.items():
            mine = folds[here] == fold
            yield ridge, here[mine], chunk[mine] @ weights

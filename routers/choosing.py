"""Which prompts are worth labelling: where teachers disagree most, balanced over languages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import ConfigError

Values = NDArray[np.float64]


def choose(
    languages: Sequence[str],
    disagreement: Values | None,
    n: int,
    *,
    seed: int,
    labelled: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Places of `n` prompts to label, ascending; all that are left where there are fewer.

    Every language gets as many as any other, counting what is labelled, until it has no more; ties
    go by chance. Within a language prompts are drawn without replacement, with odds in proportion
    to their disagreement: the sample leans towards where teachers differ and still covers the rest,
    so that means over it are not those of quarrels alone. The same seed gives the same choice.

    Source: weighted sampling without replacement by Efraimidis and Spirakis 2006.

    Args:
        languages: of each prompt.
        disagreement: float64 [n_prompts], 0 or more: how far teachers' (expected) rewards differ,
            for example by `disagreement`; NaN where it is not known, which counts as the language's
            mean. None = nothing is known: drawn evenly.
        n: how many more.
        labelled: bool [n_prompts], prompts that have their labels and are not chosen again.

    Raises ConfigError for a negative or infinite disagreement, or columns of different lengths.

    >>> choose(["tr", "tr", "tr", "fi"], np.array([0.0, 0.9, 0.0, 0.1]), 2, seed=0).tolist()
    [1, 3]
    """
    count = len(languages)
    done = np.zeros(count, np.bool_) if labelled is None else np.asarray(labelled, np.bool_)
    odds = np.full(count, np.nan) if disagreement is None else np.array(disagreement, np.float64)
    if odds.shape != (count,) or done.shape != (count,):
        raise ConfigError(
            f"there are {count:,} languages, {odds.size:,} disagreements and {done.size:,} marks "
            "of what is labelled.",
            mend="Give one of each for every prompt.",
        )
    wrong = np.flatnonzero(~(np.isnan(odds) | ((odds >= 0) & np.isfinite(odds))))
    if len(wrong):
        raise ConfigError(
            f"the disagreement of prompt {wrong[0]:,} is {odds[wrong[0]]:g}.",
            mend="Give 0 or more, or NaN where it is not known.",
        )
    tags = np.array(languages, dtype=object)
    random = np.random.default_rng(seed)
    places: dict[str, NDArray[np.intp]] = {}
    for tag in sorted(set(languages)):
        mine = np.flatnonzero((tags == tag) & ~done)
        places[tag] = mine[_order(odds[mine], random)]
    names = list(places)
    have = np.array([int((done & (tags == tag)).sum()) for tag in names], dtype=np.int64)
    room = np.array([len(places[tag]) for tag in names], dtype=np.int64)
    shares = _even(have, room, max(0, n), random)
    chosen = [places[tag][:share] for tag, share in zip(names, shares, strict=True)]
    found: NDArray[np.intp] = np.sort(np.concatenate([np.zeros(0, np.intp), *chosen]))
    return found


def disagreement(expected: Values) -> Values:
    """float64 [n_prompts]: how far the rewards of a prompt's teachers lie apart, their standard
    deviation; 0 with fewer than two.

    Args:
        expected: float64 [n_prompts, n_teachers], rewards or what a router expects of them; what
            is not finite is left out.

    >>> disagreement(np.array([[1.0, 0.0], [0.5, 0.5], [np.nan, 0.5]])).tolist()
    [0.5, 0.0, 0.0]
    """
    there = np.isfinite(expected)
    known = np.maximum(there.sum(axis=1), 1)
    values = np.where(there, expected, 0.0)
    mean = values.sum(axis=1) / known
    squares = np.where(there, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / known
    spread: Values = np.sqrt(squares)
    return spread


def _order(odds: Values, random: np.random.Generator) -> NDArray[np.intp]:
    """All places, each next one drawn in proportion to the odds of those left; odds of 0 last."""
    known = odds[~np.isnan(odds)]
    odds = np.where(np.isnan(odds), known.mean() if len(known) else 1.0, odds)
    waits = random.exponential(size=len(odds))
    with np.errstate(divide="ignore", over="ignore"):
        race = waits / odds
    return np.lexsort((waits, race))


def _even(
    have: NDArray[np.int64], room: NDArray[np.int64], n: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """How many each language gets so that the fewest have the most they can."""
    n = min(n, int(room.sum()))
    low, high = 0, int((have + room).max(initial=0))
    while low < high:
        level = (low + high + 1) // 2
        if int(np.clip(level - have, 0, room).sum()) <= n:
            low = level
        else:
            high = level - 1
    shares: NDArray[np.int64] = np.clip(low - have, 0, room)
    left = n - int(shares.sum())
    more = np.flatnonzero((have + shares == low) & (shares < room))
    if left:
        shares[random.permutation(more)[:left]] += 1
    return shares

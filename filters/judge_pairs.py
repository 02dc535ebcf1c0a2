"""Which answers of a prompt meet in pairs, and what the pairs make of each. No server here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from arbitrage.keys import digest

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """One answer among those of its prompt.

    Attributes:
        score: share of its comparisons that it won, a tie half; None without a comparison.
        first: the same where it stood first, `second` where it stood second.
        lost: comparisons that were asked for and have no verdict in one order or the other.
    """

    score: float | None
    first: float | None
    second: float | None
    lost: int


def order_of(prompt: str, texts: Sequence[str]) -> list[int]:
    """The different texts (the first of equals), in an order that texts and prompt alone decide:
    not the teachers', and another one for each prompt.

    >>> sorted(order_of("p", ["b", "a", "b"]))
    [0, 1]
    """
    first: dict[str, int] = {}
    for at, text in enumerate(texts):
        first.setdefault(text, at)
    return sorted(first.values(), key=lambda at: digest(prompt, texts[at]))


def pairs_of(order: Sequence[int], opponents: int | None) -> list[Pair]:
    """Pairs in which each of the ordered answers meets about so many others; None: all others.

    >>> pairs_of([4, 7, 9], None), len(pairs_of(range(10), 4))
    ([(4, 7), (4, 9), (7, 9)], 20)
    """
    size = len(order)
    if opponents is None or opponents >= size - 1:
        return list(combinations(order, 2))
    steps = range(1, -(-opponents // 2) + 1)
    found = {frozenset((at, (at + step) % size)): None for step in steps for at in range(size)}
    places = (sorted(pair) for pair in found)
    return [(order[one], order[other]) for one, other in places]


def standings(pairs: Iterable[Pair], wins: Mapping[Pair, float | None]) -> dict[int, Standing]:
    """What the comparisons make of each answer that met another.

    Args:
        wins: (first, second) as shown -> what the first one won: 1, 0.5 or 0; None: no verdict.
            A pair counts where both orders have one, so that no order counts more.

    >>> standings([(0, 1)], {(0, 1): 1.0, (1, 0): 0.5})[0].score
    0.75
    """
    as_first: dict[int, list[float]] = {}
    as_second: dict[int, list[float]] = {}
    lost: dict[int, int] = {}
    for one, other in pairs:
        there, back = wins[one, other], wins[other, one]
        for at, first, second in ((one, there, back), (other, back, there)):
            as_first.setdefault(at, [])
            as_second.setdefault(at, [])
            lost.setdefault(at, 0)
            if first is None or second is None:
                lost[at] += 1
            else:
                as_first[at].append(first)
                as_second[at].append(1 - second)
    return {
        at: Standing(
            _mean([*as_first[at], *as_second[at]]), _mean(as_first[at]), _mean(as_second[at]), count
        )
        for at, count in lost.items()
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None

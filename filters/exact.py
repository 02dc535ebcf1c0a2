"""Exactly N chosen a language: how many prompts each round of asking takes. Integers only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from arbitrage.config import RunConfig
from arbitrage.config.limits import limit_of, named_languages

# A round asks at most so many times the prompts asked before it: a share of acceptance that was
# seen on few prompts may be far off.
_GROWTH = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """One language of an exact run between two rounds.

    Attributes:
        wanted: candidates to be chosen, 0 where none are wanted.
        prompts: there are in the input.
        asked: of them so far.
        accepted: candidates that would be chosen if there were no limit.
    """

    language: str
    wanted: int
    prompts: int
    asked: int = 0
    accepted: int = 0

    @property
    def short(self) -> int:
        return max(0, self.wanted - self.accepted)

    @property
    def left(self) -> int:
        return self.prompts - self.asked


def most_per_prompt(config: RunConfig) -> int:
    """The most candidates of one prompt that can be chosen."""
    teachers, samples = config.router.teachers_per_prompt, config.run.samples
    most = config.select.per_prompt
    if most is None:
        return teachers * samples
    if config.select.best_of == "teacher":
        return teachers * min(most, samples)
    return min(most, teachers * samples)


def next_prompts(standing: Standing, most: int) -> int:
    """How many more prompts of a language to ask; 0 where it is not short or none is left.

    First as many as would do if all were accepted, so that none is asked in vain. Then as many as
    the share accepted so far says, and the root of that number on top, which spares rounds that
    ask for two or three. Depends on counts alone, never on time.

    >>> next_prompts(Standing("tr", 500, 9000), most=1)
    500
    >>> next_prompts(Standing("tr", 500, 9000, asked=500, accepted=400), most=1)
    136
    >>> next_prompts(Standing("tr", 500, 600, asked=500, accepted=0), most=1)
    100
    """
    if standing.short == 0:
        return 0
    if standing.asked == 0:
        return min(_ceil(standing.short, most), standing.left)
    more = _GROWTH * standing.asked
    if standing.accepted:
        expected = _ceil(standing.short * standing.asked, standing.accepted)
        more = min(more, expected + math.isqrt(expected))
    return min(more, standing.left)


def next_round(standings: Mapping[str, Standing], most: int) -> dict[str, tuple[int, int]]:
    """language -> the places [from, to) in its order that the next round asks; empty = it is over.

    Args:
        most: what one prompt may yield.
    """
    counts = {language: next_prompts(item, most) for language, item in standings.items()}
    return {
        language: (standings[language].asked, standings[language].asked + count)
        for language, count in sorted(counts.items())
        if count
    }


def foreseen(config: RunConfig, prompts: Mapping[str, int]) -> list[dict[str, int | str]]:
    """What can be said before anything is asked, one JSON-like object a language.

    `language`, `wanted`, `prompts` (in the input), `least` (asked even if every answer is
    accepted) and `short` (missing for certain, because the prompts cannot yield as many).

    Args:
        prompts: language -> its prompts in the input.
    """
    exact, most = config.select.exact, most_per_prompt(config)
    found: list[dict[str, int | str]] = []
    for tag in sorted({*prompts, *named_languages(exact)}):
        item = Standing(tag, limit_of(exact, tag) or 0, prompts.get(tag, 0))
        found.append(
            {
                "language": tag,
                "wanted": item.wanted,
                "prompts": item.prompts,
                "least": next_prompts(item, most),
                "short": max(0, item.wanted - most * item.prompts),
            }
        )
    return found


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)

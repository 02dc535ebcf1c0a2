"""Which prompts of the Language Confusion Benchmark are one instruction.

A cross-lingual instruction stands in it up to three times under consecutive numbers, asking for the
language at its start, in its middle and at its end. By number alone it is in fit and test at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from arbitrage.languages import language_table

# Of the words of two prompts. Neighbours share 40 % at most where their instructions differ, and
# 50 % at least where they are one.
SHARED = 0.45


def instructions(prompts: Iterable[tuple[str, int, str]]) -> dict[tuple[str, int], str]:
    """(source, number) -> the instruction it is one wording of.

    Args:
        prompts: (source, number, text), a number in as many languages as there are.
    """
    names = {facts.name.lower() for facts in language_table().values()}
    words: dict[tuple[str, int], set[str]] = defaultdict(set)
    for source, number, text in prompts:
        words[source, number] |= set(re.findall(r"\w+", text.lower())) - names
    found: dict[tuple[str, int], str] = {}
    before: tuple[str, int] | None = None
    for key in sorted(words):
        one = before is not None and before[0] == key[0] and alike(words[before], words[key])
        found[key] = found[before] if one and before else f"{key[0]}-{key[1]}"
        before = key
    return found


def alike(some: set[str], others: set[str]) -> bool:
    return len(some & others) > SHARED * len(some | others)

"""Reading what a judge replied. What is not in the stated form is no verdict: a ValueError."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import regex

from arbitrage.filters.conversations import only_number

_THOUGHT = regex.compile(r"^.*</think(?:ing)?>", regex.DOTALL)
_NUMBER = regex.compile(r"\s*-?\d{1,6}(?:\.\d{1,6})?\s*")
# How long a template's own pattern may search one reply.
_PATTERN_S = 1.0
_YES = {1: True, 0: False, "1": True, "0": False, "yes": True, "no": False}


def read_score(reply: str, said: Mapping[str, Any]) -> float:
    """The number that ends a pointwise reply, within the template's lowest and highest.

    Args:
        said: the template's `lowest` (default 1), `highest` (10), `key` ("score"), or `pattern`: a
            regular expression whose first group is the number, its last match counts.

    >>> read_score('Good, says {"score": 3}. <b>My verdict:</b> {"score": 8}', {})
    8.0
    """
    value = _stated(reply, said, "score")
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    number = only_number(value)
    lowest, highest = said.get("lowest", 1), said.get("highest", 10)
    if not lowest <= number <= highest:
        raise ValueError(f"a score of {number:g}, not from {lowest} to {highest}")
    return number


def read_better(reply: str, said: Mapping[str, Any]) -> float:
    """What a pairwise reply gives the first answer: 1 won, 0 lost, 0.5 a tie.

    >>> read_better('{"better": "B"}', {}), read_better('{"better": "tie"}', {})
    (0.0, 0.5)
    """
    value = _stated(reply, said, "better")
    verdicts = {"a": 1.0, "b": 0.0, "tie": 0.5}
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in verdicts:
        raise ValueError(f"{str(value)[:40]} where A, B or tie should be")
    return verdicts[word]


def read_checks(reply: str, answers: int, said: Mapping[str, Any]) -> list[float | None]:
    """For each answer the share of checks that hold; None for one whose list is missing or wrong.

    Raises ValueError where that is all of them.

    >>> read_checks('{"1": [1, 1, 0, 0], "2": [1, 1]}', 2, {"checks": ["a", "b", "c", "d"]})
    [0.5, None]
    """
    checks = len(said["checks"])
    numbers = {str(place) for place in range(1, answers + 1)}
    found = [item for item in objects(reply) if numbers & set(item)]
    if not found:
        raise ValueError("no JSON object with the answers' numbers")
    shares = [_share(found[-1].get(str(place)), checks) for place in range(1, answers + 1)]
    if all(share is None for share in shares):
        raise ValueError(f"no list of {checks} checks")
    return shares


def objects(reply: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a reply that stand in no other one, from the first to the last; thoughts
    before it are passed over.

    >>> list(objects('<think>{"a": 1}</think> so {"b": {"c": 2}} or {"d": 3')), list(objects("{"))
    ([{'b': {'c': 2}}], [])
    """
    text = _THOUGHT.sub("", reply)
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict):
                yield value
        at = text.find("{", end)


def _stated(reply: str, said: Mapping[str, Any], key: str) -> Any:
    """What stands where the template asked for it."""
    pattern = said.get("pattern")
    if pattern is not None:
        try:
            matches = regex.findall(
                str(pattern), _THOUGHT.sub("", reply), timeout=_PATTERN_S, concurrent=True
            )
        except (TimeoutError, regex.error) as error:
            raise ValueError(f"the template's pattern will not do: {error}") from error
        if not matches:
            raise ValueError("nothing that the template's pattern matches")
        return matches[-1] if isinstance(matches[-1], str) else matches[-1][0]
    name = str(said.get("key", key))
    found = [item[name] for item in objects(reply) if name in item]
    if not found:
        raise ValueError(f'no JSON object with "{name}"')
    return found[-1]


def _share(values: Any, checks: int) -> float | None:
    if not isinstance(values, list) or len(values) != checks:
        return None
    words = [value.strip().lower() if isinstance(value, str) else value for value in values]
    if not all(isinstance(word, bool | int | str) and word in _YES for word in words):
        return None
    return sum(_YES[word] for word in words) / checks

"""Which family of models a model belongs to, told by its name or by who configured it."""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib import resources

_WORD = re.compile(r"(?<![a-z0-9])[a-z0-9]")


def families_of(model: str, given: str | None = None) -> tuple[str, ...]:
    """The families of a model, sorted; () where its name says nothing of it.

    A model distilled from or trained on another may name both. Of "org/name" the name counts, and
    the organisation where the name says nothing; of a path the file's name.

    Args:
        given: what the config says, which wins over the name.

    >>> families_of("Qwen/Qwen3-8B"), families_of("deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    (('qwen',), ('deepseek', 'llama'))
    >>> families_of("our-own-7b"), families_of("our-own-7b", "Gemma")
    ((), ('google',))
    """
    if given is not None:
        return _named(given) or (given.strip().lower(),)
    *before, name = model.strip().rstrip("/").split("/")
    found = _named(name)
    return found or (_named(before[0]) if len(before) == 1 else ())


def _named(name: str) -> tuple[str, ...]:
    lower = name.lower().replace("_", "-")
    found = set()
    for start in _WORD.finditer(lower):
        rest = lower[start.start() :]
        fitting = [prefix for prefix in _table() if _begins(rest, prefix)]
        if fitting:
            found.add(_table()[max(fitting, key=len)])
    return tuple(sorted(found))


def _begins(rest: str, prefix: str) -> bool:
    """Whether a name goes on with a prefix and no letter behind it: "phi3", not "philosophy"."""
    after = rest[len(prefix) : len(prefix) + 1]
    return rest.startswith(prefix) and not after.isalpha()


@cache
def _table() -> dict[str, str]:
    data = resources.files("arbitrage").joinpath("data/model_families.csv")
    lines = data.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["prefix"]: row["family"] for row in rows}

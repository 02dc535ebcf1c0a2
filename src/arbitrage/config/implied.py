"""The policy that a deployment's own parameters imply, for a worker that was given none."""

from __future__ import annotations

import re
from collections.abc import Iterable

from arbitrage.config.places import Place, parse_place
from arbitrage.config.policy import Policy
from arbitrage.reach import Reach, Reached

_LISTS = {
    Reach.MODEL: "models",
    Reach.COMMAND: "commands",
    Reach.PROFILE: "profiles",
    Reach.BLOCK: "blocks",
}


def implied_policy(items: Iterable[Reached]) -> Policy:
    """Allows just these things: the same servers and keys, folders of globs, names word for word.

    "{day}" of a backfill counts as any day.

    >>> implied_policy([Reached("prompts.source", Reach.READ, "s3://logs/{day}/*.parquet")]).read
    ['s3://logs']
    """
    found: dict[str, list[object]] = {}
    servers: dict[str, list[str]] = {}
    for item in items:
        if item.kind in (Reach.READ, Reach.WRITE):
            found.setdefault(item.kind.value, []).append(_root(str(item.value)))
        elif item.kind is Reach.SERVER:
            keys = servers.setdefault(str(item.value), [])
            keys += [item.key] if item.key else []
        elif item.kind is Reach.KEY:
            found.setdefault("environment", []).append(item.value)
        elif item.kind is Reach.ENVIRONMENT:
            taken = [value[1:] for value in item.value.values() if value.startswith("$")]
            found.setdefault("environment", []).extend([*item.value, *taken])
        elif item.kind is Reach.ARGUMENTS:
            found.setdefault("arguments", []).extend(item.value)
        else:
            found.setdefault(_LISTS[item.kind], []).append(item.value)
    return Policy.model_validate({**found, "servers": servers})


def _root(text: str) -> str:
    """The place itself; of a glob or a day's place, the folder that holds them all."""
    return _written(parse_place(re.sub(r"[^/]*\{day\}.*", "*", text)))


def _written(place: Place) -> str:
    if place.kind == "local":
        return place.path
    return f"{place.kind}{'://' if place.kind == 's3' else ':'}{'/'.join(place.parts)}"

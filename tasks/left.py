"""Which shards of a continued run are still to be worked on: the others cost no task."""

from __future__ import annotations

from collections.abc import Iterable

from arbitrage.infra.progress import board
from arbitrage.tasks.policy import unfinished


def left_to_score(uri: str, shards: Iterable[int]) -> list[int]:
    """Those of the shards that are not scored; the board counts the others as done.

    A task that finds nothing to do costs as much of the server as one that works: a run that is
    continued after 10,000 shards would ask nothing for minutes.
    """
    run = unfinished(uri)
    every = list(shards)
    left = [shard for shard in every if not run.is_scored(shard)]
    board.add(shards_scored=len(every) - len(left))
    return left


def left_to_decide(uri: str, shards: Iterable[int]) -> list[int]:
    """Those of the shards that are not decided; the board counts the others as done."""
    run = unfinished(uri)
    every = list(shards)
    left = [shard for shard in every if not run.is_decided(shard)]
    board.add(shards_decided=len(every) - len(left))
    return left

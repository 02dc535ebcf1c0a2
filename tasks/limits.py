"""Global concurrency limits: how many shards, over all runs and machines, ask a teacher at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from prefect import get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.sync import concurrency

from arbitrage.tasks.away import server_may_be_away

# A worker that dies gives its slots back once its lease has run out.
_LEASE_S = 120.0
# The server gives no more at once.
_PAGE = 200


@contextmanager
def teacher_slots(teachers: Iterable[str], run: str) -> Iterator[None]:
    """Hold one slot of the limit of each teacher that has one, all taken together or none.

    `run` is the run they are taken for; which limits exist is asked once a run and process.
    """
    names = sorted({limit_name(teacher) for teacher in teachers} & known_limits(run))
    if not names:
        yield
        return
    # A lease that cannot be renewed for a moment is no reason to throw a shard's work away, nor is
    # a server that is away when slots are given back: it takes them once the lease has run out.
    slots = concurrency(names, lease_duration=_LEASE_S, raise_on_lease_renewal_failure=False)
    slots.__enter__()
    try:
        yield
    finally:
        with server_may_be_away("giving back its teachers' slots"):
            slots.__exit__(None, None, None)


@lru_cache(maxsize=8)
def known_limits(run: str) -> frozenset[str]:  # noqa: ARG001 (the key of the cache)
    """Names of the active limits on the server."""
    found: list[GlobalConcurrencyLimitResponse] = []
    with get_client(sync_client=True) as client:
        while True:
            page = client.read_global_concurrency_limits(_PAGE, offset=len(found))
            found += page
            if len(page) < _PAGE:
                return frozenset(limit.name for limit in found if limit.active)


def limit_name(teacher: str) -> str:
    """
    >>> limit_name("command-r-plus")
    'arbitrage.teacher.command-r-plus'
    """
    return f"arbitrage.teacher.{teacher}"

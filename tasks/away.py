"""What a run does without Prefect's server for a while: whatever its files do not need."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

log = logging.getLogger("arbitrage.prefect")


@contextmanager
def server_may_be_away(what: str) -> Iterator[None]:
    """Log, and pass over, that Prefect's server (or its database) does not answer.

    For showing progress and for giving back what runs out by itself: nobody's answers are asked for
    again because a dashboard was away. A server that answers and refuses (4xx) is an error as ever.

    >>> with server_may_be_away("the progress"):
    ...     raise httpx.ConnectError("All connection attempts failed")
    """
    try:
        yield
    except httpx.TransportError as error:
        log.warning("Prefect's server is away, the run goes on without %s: %s", what, error)
    except httpx.HTTPStatusError as error:
        if error.response.status_code < 500:
            raise
        log.warning("Prefect's server failed, the run goes on without %s: %s", what, error)

"""When a failed task is worth another try, and the guard every task begins with."""

from __future__ import annotations

from typing import Any

from arbitrage.errors import ArbitrageError
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store.run import Run, attach


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what may pass by itself (storage, network); never what somebody has to mend.

    Every ArbitrageError is a statement about the config, the data or a request to stop: trying
    again would give the same answer later.
    """
    error = state.result(raise_on_failure=False)
    return not isinstance(error, ArbitrageError | KeyboardInterrupt)


def unfinished(uri: str) -> Run:
    """The run a task works on, unless the process is being stopped."""
    raise_if_stopping()
    return attach(uri)

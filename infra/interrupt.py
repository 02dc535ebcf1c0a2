"""Stopping on SIGINT and SIGTERM without losing what is finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from arbitrage.errors import InterruptedRunError

# Set once the run should stop: senders stop sending, what is in flight is saved or dropped.
stop = threading.Event()


_watching = 0


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Within this context the first SIGINT or SIGTERM sets `stop`; a second SIGINT breaks off.

    Contexts nest: the outermost one clears the event, each puts its handlers in place (Prefect
    installs one of its own in between). Signal handlers belong to the main thread; elsewhere (a
    Prefect worker's thread) none is installed.
    """
    global _watching  # noqa: PLW0603
    if _watching == 0:
        stop.clear()
    _watching += 1
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    previous = {number: signal.signal(number, _handle) for number in numbers}
    try:
        yield
    finally:
        _watching -= 1
        for number, handler in previous.items():
            signal.signal(number, handler)


def _handle(number: int, _frame: FrameType | None) -> None:
    if stop.is_set() and number == signal.SIGINT:
        raise KeyboardInterrupt
    stop.set()


def raise_if_stopping() -> None:
    """InterruptedRunError once a stop was asked for; called between steps."""
    if stop.is_set():
        raise InterruptedRunError("the run was asked to stop; everything finished is saved.")

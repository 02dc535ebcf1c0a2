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


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Within this context the first SIGINT or SIGTERM sets `stop`; a second SIGINT breaks off.

    Signal handlers belong to the main thread; elsewhere (a Prefect worker's thread) this only
    clears the event.
    """
    stop.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def raise_if_stopping() -> None:
    """InterruptedRunError once a stop was asked for; called between steps."""
    if stop.is_set():
        raise InterruptedRunError("the run was asked to stop; everything finished is saved.")

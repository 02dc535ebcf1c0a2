"""How fast one teacher is asked: retry delays and the number of requests in flight. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, honouring what the server asks for.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015 ("full jitter").

    Attributes:
        base_s: upper bound of the first pause; it doubles with each attempt.
        cap_s: upper bound of any pause of our own.
        max_retry_after_s: a longer Retry-After is cut to this.
    """

    base_s: float = 0.5
    cap_s: float = 30.0
    max_retry_after_s: float = 300.0

    def delay_s(self, attempt: int, retry_after_s: float | None, uniform: float) -> float:
        """Pause before the next attempt.

        Args:
            attempt: attempts made so far, from 1.
            retry_after_s: what the server asked for, or None.
            uniform: a uniform random number in [0, 1).

        >>> RetryPolicy(base_s=1).delay_s(3, None, 0.5)
        2.0
        >>> RetryPolicy(base_s=1).delay_s(1, 7.0, 0.5)
        7.5
        """
        if retry_after_s is not None:
            # The jitter on top keeps those who were refused together from coming back together.
            return min(max(retry_after_s, 0.0), self.max_retry_after_s) + uniform * self.base_s
        return uniform * min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 60))


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or Retry-After as seconds or as a date.

    >>> retry_after_s({"Retry-After": "1.5"}), retry_after_s({"Retry-After": "soon"})
    (1.5, None)
    """
    milliseconds = _number(headers.get("retry-after-ms", headers.get("Retry-After-Ms", "")))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("Retry-After", headers.get("retry-after", ""))
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


class Pacer:
    """How many requests one teacher may be sent now. Times are seconds of one monotonic clock.

    A fixed limit, and a pause for everything where a server names one (429 or 503 with
    Retry-After). Not thread-safe: it lives on the pool's event loop.

    >>> pacer = Pacer(2); pacer.started(); pacer.free(now=0.0)
    1
    >>> pacer.pause(now=0.0, seconds=5.0); pacer.free(now=1.0), pacer.wait_s(now=1.0)
    (0, 4.0)
    """

    def __init__(self, max_concurrency: int) -> None:
        self.limit = max_concurrency
        self.in_flight = 0
        self.paused_until = 0.0

    def free(self, now: float) -> int:
        """Requests that may start at `now`."""
        return 0 if now < self.paused_until else max(0, self.limit - self.in_flight)

    def wait_s(self, now: float) -> float:
        """Seconds until a pause ends; 0 where only a finished request frees a slot."""
        return max(0.0, self.paused_until - now)

    def started(self) -> None:
        self.in_flight += 1

    def finished(self) -> None:
        self.in_flight -= 1

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing before `now` + `seconds`; a longer pause stays."""
        self.paused_until = max(self.paused_until, now + seconds)

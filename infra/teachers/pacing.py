"""How fast one endpoint is asked: retry delays, and what may be in flight. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.breaker import Breaker, BreakerPolicy
from arbitrage.infra.teachers.concurrency import AdaptiveLimit


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
    """How many requests one endpoint may be sent now. Times are seconds of one monotonic clock.

    Four things hold it back: the adaptive limit, a pause the server asked for (Retry-After), the
    breaker, and the watchdog: an endpoint that is asked and answers nothing for `stall_s` counts
    as down, whatever its /health says. Not thread-safe: it lives on the pool's event loop.

    >>> pacer = Pacer(2); pacer.started(now=0.0), pacer.free(now=0.0)
    (False, 1)
    >>> pacer.pause(now=0.0, seconds=5.0); pacer.free(now=1.0), pacer.wait_s(now=1.0)
    (0, 4.0)
    """

    def __init__(
        self,
        most: int,
        first: int | None = None,
        *,
        breaker: BreakerPolicy | None = None,
        stall_s: float = math.inf,
    ) -> None:
        self.limit = AdaptiveLimit(most, first)
        self.breaker = Breaker(breaker or BreakerPolicy())
        self.in_flight = 0
        self.paused_until = 0.0
        self.last_error: TeacherError | None = None
        self._stall_s = stall_s
        self._proven = False
        self._unanswered_since: float | None = None
        self._probe_sent_at = 0.0

    def free(self, now: float) -> int:
        """Requests that may start at `now`."""
        if now < self.paused_until:
            return 0
        if self.breaker.closed:
            return max(0, self.limit.value - self.in_flight)
        return int(self.breaker.allows(now))

    def wait_s(self, now: float) -> float | None:
        """Seconds until a pause ends or a probe is due; None where only an answer helps."""
        pause = self.paused_until - now
        if not self.breaker.closed:
            until_probe = self.breaker.wait_s(now)
            return None if until_probe is None else max(pause, until_probe)
        return pause if pause > 0 else None

    def started(self, now: float) -> bool:
        """A request is sent; whether it is a probe."""
        self.in_flight += 1
        if self._unanswered_since is None:
            self._unanswered_since = now
        if self.breaker.closed:
            return False
        self.breaker.probe_started()
        self._probe_sent_at = now
        return True

    def ended(self, *, probe: bool = False) -> None:
        """A request is no longer in flight, however it ended; a `probe` that told nothing too."""
        self.in_flight -= 1
        if probe:
            self.breaker.probe_cancelled()

    def answered(self, now: float) -> None:
        """An answer came that settles its request: the endpoint works."""
        self._proven = True
        self._unanswered_since = now if self.in_flight > 1 else None
        self.limit.succeeded()
        self.breaker.succeeded()

    def failed(self, now: float, error: TeacherError, sent_at: float, *, probe: bool) -> bool:
        """A request failed; whether that is to be laid to an endpoint that is down, not to it."""
        if is_overload(error):
            self.limit.overloaded(now, sent_at)
        down = is_down(error)
        if not (down or error.transient):
            self.answered(now)
            return False
        self.last_error = error
        if probe:
            self.breaker.probe_failed(now)
        elif down:
            refused = error.status in REFUSED and not self._proven
            # Where nothing listens there is nothing to count: with few requests in flight the
            # breaker would not open before they had used up their retries.
            self.breaker.failed(now, at_once=refused or error.unreachable)
        return (probe or down) and not self.breaker.closed

    @property
    def _last_status(self) -> int | None:
        return None if self.last_error is None else self.last_error.status

    def pause(self, now: float, seconds: float) -> None:
        """Start nothing before `now` + `seconds`; a longer pause stays."""
        self.paused_until = max(self.paused_until, now + seconds)

    def idle_ended(self) -> None:
        """Work comes after a time without: what was not answered before it no longer counts."""
        if not self.in_flight:
            self._unanswered_since = None

    def stalled(self, now: float) -> bool:
        """Asked, and nothing answered for `stall_s`: what is in flight should be withdrawn."""
        if not self.breaker.closed:
            return self.breaker.probing and now - self._probe_sent_at > self._stall_s
        since = self._unanswered_since
        return since is not None and now - since > self._stall_s

    def trip(self, now: float) -> None:
        """Take the endpoint as down."""
        if self.breaker.probing:
            self.breaker.probe_failed(now)
        else:
            self.breaker.failed(now, at_once=True)
        self._unanswered_since = None

    def dead(self, now: float, after_s: float) -> bool:
        """Down for `after_s`, and it failed a probe since, and none is under way.

        A key that never worked and is refused by two probes needs no waiting.
        """
        breaker = self.breaker
        if self._last_status in _WRONG_KEY and not self._proven and breaker.failed_probes >= 2:
            return True
        if breaker.open_s(now) < after_s or breaker.probing or not breaker.failed_probes:
            return False
        return now >= self.paused_until or breaker.failed_probes >= _PROBES_BEFORE_LAST_PAUSE


# A server that is loading asks for a pause; one that does nothing else is not waited for for ever.
_PROBES_BEFORE_LAST_PAUSE = 3

# Answers that every request would get: a wrong key, address or model, or no credit left.
REFUSED = frozenset({401, 402, 403, 404, 405, 407})

_WRONG_KEY = frozenset({401, 403})

_OVERLOAD = frozenset({408, 429, 503, 504, 529})


def is_overload(error: TeacherError) -> bool:
    """Whether it says that the server has too much to do."""
    return error.reason == "generate.timeout" or error.status in _OVERLOAD


def is_down(error: TeacherError) -> bool:
    """Whether it speaks of the endpoint and not of the request.

    No connection, no answer in time, an error page, a 5xx, a refusal that everybody would get.
    """
    if error.reason in {"generate.connection", "generate.timeout", "generate.wrong_content_type"}:
        return True
    status = error.status
    return status is not None and (status >= 500 or status in REFUSED)

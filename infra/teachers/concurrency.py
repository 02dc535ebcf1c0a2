"""How many requests one endpoint may have in flight: additive increase, multiplicative decrease."""

from __future__ import annotations


class AdaptiveLimit:
    """AIMD between 1 and `most`, on answers and on signs of overload (429, 503, timeouts).

    Starts at `first` (default `most`): a vLLM server wants its whole batch at once. A full window
    of successes raises the limit by one step (most / 32, at least 1). A sign of overload lowers it
    by `decrease`, once a round trip: only a request that was sent after the last decrease can cause
    the next one, so one burst of refusals counts once.

    Source: Chiu and Jain 1989, "Analysis of the increase and decrease algorithms for congestion
    avoidance"; once a round trip as in TCP NewReno's recovery (RFC 6582). No slow start.

    >>> limit = AdaptiveLimit(8); limit.overloaded(now=1.0, sent_at=0.0); limit.value
    5
    >>> limit.overloaded(now=1.1, sent_at=0.5); limit.value
    5
    """

    def __init__(self, most: int, first: int | None = None, decrease: float = 0.7) -> None:
        self._most = most
        self._exact = float(min(first or most, most))
        self._step = max(1.0, most / 32)
        self._decrease = decrease
        self._decreased_at = float("-inf")
        self._successes = 0
        self.value = int(self._exact)

    def succeeded(self) -> None:
        """An answer came back."""
        if self.value == self._most:
            return
        self._successes += 1
        if self._successes >= self.value:
            self._set(min(self._most, self._exact + self._step))

    def overloaded(self, now: float, sent_at: float) -> None:
        """The request sent at `sent_at` was refused as too much, or timed out."""
        if sent_at > self._decreased_at:
            self._decreased_at = now
            self._set(max(1.0, self._exact * self._decrease))

    def _set(self, exact: float) -> None:
        self._exact, self.value, self._successes = exact, int(exact), 0

"""Token buckets: what a hosted API allows a minute, and how many retries a teacher may cost.

Pure: every method is given the time, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.infra.teachers.base import Completion, Request

# Learned from usage where max_tokens is not set; this is the first guess.
_FIRST_ANSWER_TOKENS = 256.0
_BYTES_PER_TOKEN = 4
_ROUNDING = 1e-6


class Bucket:
    """Fills at `per_s` up to `most`, starts full.

    What costs more than `most` may be taken from a full bucket and leaves a debt, so that one
    large request can never wait for ever.
    """

    def __init__(self, per_s: float, most: float) -> None:
        self.per_s, self.most = per_s, most
        self.level = most
        self._at: float | None = None

    def wait_s(self, now: float, cost: float = 1.0) -> float:
        """Seconds until `cost` may be taken; 0 = now."""
        if self._at is not None and now > self._at:
            self.level = min(self.most, self.level + (now - self._at) * self.per_s)
        self._at = now
        lacking = min(cost, self.most) - self.level
        return lacking / self.per_s if lacking > _ROUNDING else 0.0

    def take(self, cost: float = 1.0) -> None:
        self.level -= cost

    def add(self, amount: float) -> None:
        """Put some in, or take a correction out; never above `most`."""
        self.level = min(self.most, self.level + amount)


def minute_bucket(per_minute: float) -> Bucket:
    """A bucket that lets no more than `per_minute` ones through in any 60 s (half-open).

    It holds one second's worth; what it holds beyond 1 is taken off what it fills a minute.

    >>> minute_bucket(600).most, round(minute_bucket(600).per_s * 60)
    (10.0, 591)
    """
    most = max(1.0, per_minute / 60)
    return Bucket((per_minute - (most - 1)) / 60, most)


class RateLimits:
    """requests_per_minute and tokens_per_minute of one teacher, over all its endpoints.

    A request reserves its prompt (bytes / 4) plus max_tokens for each sample, or the mean answer so
    far where max_tokens is not set; `correct` settles it with the usage the server reports.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        max_tokens: int | None,
    ) -> None:
        self._requests = None if requests_per_minute is None else minute_bucket(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else minute_bucket(tokens_per_minute)
        self._max_tokens = max_tokens
        self._mean = _FIRST_ANSWER_TOKENS
        self.unlimited = self._requests is None and self._tokens is None

    def reservation(self, request: Request) -> float:
        """Tokens to reserve for a request; 0 where nothing limits them."""
        if self._tokens is None:
            return 0.0
        size = sum(len(content.encode("utf-8", "replace")) for _, content in request.messages)
        answer = self._mean if self._max_tokens is None else self._max_tokens
        return 4 + size / _BYTES_PER_TOKEN + answer * len(request.samples)

    def wait_s(self, now: float, tokens: float) -> float:
        """Seconds until a request that reserves `tokens` may start; 0 = now."""
        by_requests = self._requests.wait_s(now) if self._requests else 0.0
        by_tokens = self._tokens.wait_s(now, tokens) if self._tokens else 0.0
        return max(by_requests, by_tokens)

    def take(self, tokens: float) -> None:
        if self._requests:
            self._requests.take()
        if self._tokens:
            self._tokens.take(tokens)

    def correct(self, reserved: float, completions: Sequence[Completion]) -> None:
        """Give back what was reserved and not used, or take what was used beyond it."""
        counts = [c.completion_tokens for c in completions if c.completion_tokens is not None]
        if self._tokens is None or len(counts) < len(completions) or not counts:
            return
        self._mean += 0.05 * (sum(counts) / len(counts) - self._mean)
        self._tokens.add(reserved - sum(counts) - (completions[0].prompt_tokens or 0))


class RetryBudget:
    """Retries may be `share` of the requests, plus a floor that fills with time.

    A retry that finds the budget empty waits: in a batch run it need not fail. So a sick server is
    never asked much more often than a healthy one.

    Source: "Handling Overload" in Site Reliability Engineering (Beyer et al. 2016), a 10 % retry
    budget a client; the floor of 10/s and deposits as in Finagle's RetryBudget.

    >>> budget = RetryBudget(max_concurrency=1); budget.wait_s(0.0), budget.most
    (0.0, 20.0)
    """

    def __init__(self, max_concurrency: int, share: float = 0.1) -> None:
        self.most = max(20.0, 2.0 * max_concurrency)
        self._share = share
        self._bucket = Bucket(max(10.0, max_concurrency / 4), self.most)

    def requested(self) -> None:
        """A request was sent for the first time."""
        self._bucket.add(self._share)

    def wait_s(self, now: float) -> float:
        """Seconds until a retry may be sent; 0 = now."""
        return self._bucket.wait_s(now)

    def retried(self) -> None:
        self._bucket.take()

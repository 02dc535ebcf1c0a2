"""A circuit breaker: while an endpoint is down, nothing is sent there but a probe now and then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and how often an open one probes.

    Attributes:
        failures: consecutive failures that open it.
        probe_s: pause before the first probe; it doubles with each that fails.
        cap_s: upper bound of that pause.
    """

    failures: int = 10
    probe_s: float = 1.0
    cap_s: float = 30.0


class Breaker:
    """Closed (all may be sent), open (nothing), half-open (one probe in flight).

    A breaker that waited its pause lets one request through; its success closes, its failure opens
    for twice the pause. Failures of requests that were sent before it opened change nothing; a
    success of one of them closes it, since the endpoint answers.

    Source: Nygard, Release It! (2007), "Circuit Breaker".

    >>> breaker = Breaker(BreakerPolicy(failures=2, probe_s=1.0))
    >>> breaker.failed(now=0.0); breaker.failed(now=0.0); breaker.allows(now=0.5)
    False
    >>> breaker.allows(now=1.0), breaker.probe_started(), breaker.allows(now=1.0)
    (True, None, False)
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self.closed = True
        self.probing = False
        self.failed_probes = 0
        self._failures = 0
        self._opened_at = 0.0
        self._probe_at = 0.0

    def allows(self, now: float) -> bool:
        return self.closed or (not self.probing and now >= self._probe_at)

    def wait_s(self, now: float) -> float | None:
        """Seconds until a probe may be sent; None where a probe in flight decides."""
        if self.closed:
            return 0.0
        return None if self.probing else max(0.0, self._probe_at - now)

    def open_s(self, now: float) -> float:
        """For how long it has not been closed."""
        return 0.0 if self.closed else now - self._opened_at

    def succeeded(self) -> None:
        self.closed, self.probing, self._failures, self.failed_probes = True, False, 0, 0

    def failed(self, now: float, *, at_once: bool = False) -> None:
        """A request sent while it was closed failed; `at_once` opens it whatever came before."""
        if self.closed:
            self._failures += 1
            if at_once or self._failures >= self._policy.failures:
                self.closed = False
                self._opened_at = now
                self._probe_at = now + self._policy.probe_s

    def probe_started(self) -> None:
        self.probing = True

    def probe_failed(self, now: float) -> None:
        if not self.closed:
            self.probing = False
            self.failed_probes += 1
            pause = self._policy.probe_s * 2.0 ** min(self.failed_probes, 60)
            self._probe_at = now + min(self._policy.cap_s, pause)

    def probe_cancelled(self) -> None:
        """It ended without telling anything."""
        self.probing = False

"""What waits for one teacher: new requests, first call first, and those to be sent again."""

from __future__ import annotations

from collections import deque

from arbitrage.infra.generation.call import Call
from arbitrage.infra.generation.job import Job
from arbitrage.infra.teachers.base import Request
from arbitrage.infra.teachers.buckets import RetryBudget


class Queue:
    """Retries go first, as far as the retry budget goes; requests of stopping calls are dropped."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._new: deque[tuple[Call, deque[Request]]] = deque()
        self._again: deque[Job] = deque()

    def __bool__(self) -> bool:
        return bool(self._again) or self.front() is not None

    def add(self, call: Call, requests: deque[Request]) -> None:
        self._new.append((call, requests))

    def add_again(self, job: Job) -> None:
        """At the end: a request that was itself the cause must not be the next probe too."""
        self._again.append(job)

    def put_back(self, job: Job) -> None:
        """What `next` just gave, to be given first again."""
        if job.sent:
            self._again.appendleft(job)
        else:
            self._new[0][1].appendleft(job.request)

    def front(self) -> tuple[Call, deque[Request]] | None:
        """The first call that still has something new to send."""
        while self._new:
            call, requests = self._new[0]
            if requests and not call.stopping:
                return call, requests
            self._new.popleft()
        return None

    def next(self, now: float, *, fresh: bool = False) -> Job | None:
        """What to send now, or None. `fresh`: rather a new request, where there is one.

        A new one tells of the endpoint; one that failed before may be itself the cause.
        """
        while self._again and self._again[0].call.stopping:
            self._again.popleft()
        front = self.front() if fresh or not self._again else None
        if front is None and self._again:
            if self._budget.wait_s(now) <= 0:
                return self._again.popleft()
            front = self.front()
        return Job(front[0], front[1].popleft()) if front else None

    def wait_s(self, now: float) -> float | None:
        """Seconds until the budget has a retry; None where nothing waits for it."""
        return self._budget.wait_s(now) if self._again else None

    def sent(self, job: Job) -> None:
        """Charge the budget for a job that is sent now."""
        if job.sent:
            self._budget.retried()
        else:
            self._budget.requested()

    def calls(self) -> list[Call]:
        return [call for call, _ in self._new]

    def drain(self) -> list[Job]:
        """Everything that waits; nothing is left."""
        jobs = list(self._again)
        jobs += [Job(call, request) for call, requests in self._new for request in requests]
        self._again.clear()
        self._new.clear()
        return jobs

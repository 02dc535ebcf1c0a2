"""What questions to reward servers use: counted in the usage log, held to the run's budget."""

from __future__ import annotations

import threading
import time

from arbitrage.answers import Use
from arbitrage.infra.generation.budget import Budget
from arbitrage.infra.generation.usage import TeacherUsage
from arbitrage.infra.interrupt import raise_if_stopping
from arbitrage.infra.store.usage import UsageLog

_LOOK_AGAIN_S = 0.05


def asker_key(name: str) -> str:
    """What a filter's usage and plan go by: no teacher can be called so.

    >>> asker_key("judge")
    '[filters.judge]'
    """
    return f"[filters.{name}]"


def is_asker(name: str) -> bool:
    """Whether usage of this name is a filter's."""
    return name.startswith("[filters.")


class Purse:
    """Pays for the questions of filters. Thread-safe.

    A question is expected to cost what those before it did in the mean; the first one its bound.
    Like a teacher's it waits while it does not fit and others are in flight, and is refused where
    nothing is.
    """

    def __init__(self, usage: UsageLog, budget: Budget | None) -> None:
        self._usage, self._budget = usage, budget
        self._lock = threading.Lock()
        self._seen: dict[str, TeacherUsage] = {}
        self._promised: dict[str, list[dict[str, float]]] = {}

    def afford(self, asker: str, most: Use) -> bool:
        """As `Answers.afford`."""
        if self._budget is None:
            return True
        while True:
            expected = self._expected(asker, most)
            said = self._budget.commit_other(expected)
            if said is not None:
                if said:
                    with self._lock:
                        self._promised.setdefault(asker, []).append(expected)
                return said
            raise_if_stopping()
            time.sleep(_LOOK_AGAIN_S)

    def used(self, asker: str, most: Use, used: Use) -> None:
        """As `Answers.used`; what a server does not tell counts as expected."""
        guess = self._expected(asker, most)
        told = used.prompt_tokens is not None or used.completion_tokens is not None
        tokens = (used.prompt_tokens or 0) + (used.completion_tokens or 0)
        cost = {
            "requests": 1.0,
            "usd": (0.0 if used.failed else guess["usd"])
            if used.cost_usd is None
            else used.cost_usd,
            "tokens": float(tokens) if told else 0.0 if used.failed else guess["tokens"],
        }
        now = time.time()
        line = TeacherUsage(
            requests=1,
            failed=int(used.failed),
            prompt_tokens=used.prompt_tokens or 0,
            completion_tokens=used.completion_tokens or 0,
            untold=int(not told and not used.failed),
            cost_usd=cost["usd"],
            request_s=used.seconds,
            began=now - used.seconds,
            ended=now,
        )
        self._usage.add(asker_key(asker), line)
        with self._lock:
            if not used.failed:
                self._seen.setdefault(asker, TeacherUsage()).merge(line)
            promised = self._promised.get(asker)
            expected = promised.pop() if promised else None
        if self._budget is not None and expected is not None:
            self._budget.settle_other(expected, cost)

    def _expected(self, asker: str, most: Use) -> dict[str, float]:
        with self._lock:
            seen = self._seen.get(asker)
        if seen is None or seen.untold == seen.requests:
            tokens = (most.prompt_tokens or 0) + (most.completion_tokens or 0)
            return {"requests": 1.0, "tokens": float(tokens), "usd": most.cost_usd or 0.0}
        tokens = seen.prompt_tokens + seen.completion_tokens
        return {
            "requests": 1.0,
            "tokens": tokens / seen.requests,
            "usd": seen.cost_usd / seen.requests,
        }

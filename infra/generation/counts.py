"""What a call of the pool did, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from arbitrage.infra.teachers.base import Completion


@dataclass(slots=True)
class GenerationCounts:
    """Counts in samples unless said. `requested` = `succeeded` + `failed` once a call has ended.

    Attributes:
        sent: requests sent to teachers, retries included.
        retries: those sent again after a failure.
        reasons: failed samples by (teacher, reason).
        prompt_tokens: once a request, where the teacher told.
        completion_tokens, cost_usd: sums over the samples where they are known.
    """

    requested: int = 0
    succeeded: int = 0
    failed: int = 0
    sent: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    by_teacher: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def finished(self) -> int:
        return self.succeeded + self.failed

    def add(self, teacher: str, completions: Sequence[Completion]) -> None:
        """Count one finished request."""
        self.by_teacher[teacher] += len(completions)
        self.prompt_tokens += (completions[0].prompt_tokens if completions else None) or 0
        for completion in completions:
            self.completion_tokens += completion.completion_tokens or 0
            self.cost_usd += completion.cost_usd or 0.0
            if completion.error is None:
                self.succeeded += 1
            else:
                self.failed += 1
                self.reasons[teacher, completion.error] += 1

"""The seam between what asks a server and where its answers are kept: each is paid for once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Causes of a missing score that say nothing of the answer: another day the server may have one.
PASSING = ("unanswered", "budget_spent")
# Those of a score, or of a part of one, that is not there because no budget was left.
UNPAID = ("budget_spent", "partly_budget_spent")


@dataclass(frozen=True, slots=True)
class Asking:
    """What a filter asks about the answers to one prompt, before anything is sent.

    Attributes:
        requests: at most so many; equal questions are asked once.
        prompts, answers: how often the prompt's text, and the text of an answer, is sent.
        around: what else is in each request.
        reply_tokens: most tokens of a reply.
    """

    requests: int
    prompts: int
    answers: int
    around: str = ""
    reply_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """What one question used, or is expected to; None = not known.

    Attributes:
        failed: whether nothing usable came back.
        seconds: from asking to its end, retries included.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    failed: bool = False
    seconds: float = 0.0


class Answers(Protocol):
    """Answers by the key of their question. Called from several threads at once."""

    def known(self, key: str) -> bytes | None:
        """What was kept under a key, None where nothing was. Also where whoever keeps the answers
        says that no more are wanted: it may raise InterruptedRunError."""
        ...

    def keep(self, key: str, answer: bytes) -> None:
        """Keep an answer so that a process killed right afterwards has not lost it."""
        ...

    def afford(self, asker: str, most: Use) -> bool:
        """Whether a question may be asked, at most at this price; False once a budget is spent.

        May wait for what is in flight, and raise InterruptedRunError. After True comes `used`."""
        ...

    def used(self, asker: str, most: Use, used: Use) -> None:
        """Count what a question that could be afforded has used."""
        ...

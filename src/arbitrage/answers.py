"""The seam between what asks a server and where its answers are kept: each is paid for once."""

from __future__ import annotations

from typing import Protocol


class Answers(Protocol):
    """Answers by the key of their question. Called from several threads at once."""

    def known(self, key: str) -> bytes | None:
        """What was kept under a key, None where nothing was. Also where whoever keeps the answers
        says that no more are wanted: it may raise InterruptedRunError."""
        ...

    def keep(self, key: str, answer: bytes) -> None:
        """Keep an answer so that a process killed right afterwards has not lost it."""
        ...

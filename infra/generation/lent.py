"""The budget of a process that borrows: as Budget, within what another process lends it."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from arbitrage.config.model import RunSection
from arbitrage.errors import ArbitrageError
from arbitrage.infra.generation.budget import Budget, refusal
from arbitrage.infra.generation.lender import Amounts, Reply, Statement
from arbitrage.infra.store.usage import Mark

log = logging.getLogger(__name__)

# Whoever waits looks again after the first, and all say how they stand after the second.
_LOOK_AGAIN_S = 0.1
_REPORT_S = 0.5


class Lends(Protocol):
    """A Lender, here or in another process."""

    def open(self, loan: str, shard: int, mark: Mark) -> Reply: ...
    def exchange(self, loan: str, said: Statement) -> Reply: ...
    def close(self, loan: str, said: Statement) -> None: ...


class LentBudget(Budget):
    """Lets requests go within what was lent; asks for more where one does not fit.

    What it has is lent for one shard at a time: within `borrowing`, and nothing outside it. A
    thread of its own speaks with the lender, so that nobody is held up who has enough.

    Args:
        run: says which limits there are; how much of each, the lender.
    """

    def __init__(self, run: RunSection) -> None:
        given = {"usd": run.budget_usd, "tokens": run.budget_tokens}
        self._given = {**given, "requests": run.budget_requests}
        super().__init__(*(None if limit is None else 0.0 for limit in self._given.values()))
        self.is_spent = False
        self._wake = threading.Event()
        self._over = threading.Event()
        self._number = 0
        self._need: list[float] | None = None
        self._room: Amounts | None = None
        self._all_spent: Mapping[str, float] = {}
        self._broken: Exception | None = None

    @contextmanager
    def borrowing(self, lender: Lends, shard: int, mark: Mark) -> Iterator[None]:
        """Borrow for a shard within this context; what is left is given back at its end.

        Args:
            mark: in the usage log, for what is used for this shard.
        """
        loan = f"{shard} {uuid.uuid4()}"
        self._begin(lender.open(loan, shard, mark))
        speaking = threading.Thread(
            target=self._speak, args=(lender, loan), name="budget", daemon=True
        )
        speaking.start()
        try:
            yield
        finally:
            self._over.set()
            self._wake.set()
            speaking.join()
            self._close(lender, loan)

    def commit_other(self, expected: Mapping[str, float]) -> bool | None:
        """As `Budget.commit_other`; raises what keeps this process from hearing of the lender."""
        said = super().commit_other(expected)
        if said is False and self._broken is not None:
            raise self._broken
        return said

    def _begin(self, reply: Reply) -> None:
        self._over.clear()
        self._wake.clear()
        with self._lock:
            self._number, self._need, self._room, self._broken = 0, None, None, None
            for limit in self._limits:
                limit.limit = limit.spent = limit.others_spent = 0.0
            self.is_spent = reply.is_over
            self._all_spent = reply.spent

    def _no_room(self, expected: Sequence[float]) -> bool:
        """Whether the whole run has none; else the lender is asked."""
        if self._broken is not None:
            return True
        room = self._room
        if (
            room is not None
            and super()._no_room(expected)
            and any(share > room[name] for name, share in self._named(expected).items())
        ):
            return True
        need = self._need or [0.0] * len(expected)
        self._need = [max(pair) for pair in zip(need, expected, strict=True)]
        self._wake.set()
        return False

    def _speak(self, lender: Lends, loan: str) -> None:
        is_short = False
        while not self._over.is_set():
            self._wake.wait(_REPORT_S)
            self._wake.clear()
            said = self._statement(give_back=is_short)
            try:
                reply = lender.exchange(loan, said)
                if not reply.is_known:
                    raise ArbitrageError(
                        f"shard {loan.partition(' ')[0]} was given to another process, as this one "
                        "had let its lock go.",
                        mend="Run the same command again.",
                    )
            except Exception as error:  # noqa: BLE001 - raised by whoever waits for the budget
                self._break(error)
                return
            is_short = reply.is_short
            self._take(reply)
            if said.need is not None and reply.allowance == said.kept:
                self._over.wait(_LOOK_AGAIN_S)

    def _statement(self, *, give_back: bool) -> Statement:
        """How the loan stands; whoever needs more, or has others wait, keeps only what it needs."""
        with self._lock:
            need, self._need = self._need, None
            self._number += 1
            committed = {n.meter.name: n.committed + n.others_committed for n in self._limits}
            if give_back or need is not None:
                for limit in self._limits:
                    limit.limit = min(limit.limit, limit.gone + committed[limit.meter.name])
            return Statement(
                number=self._number,
                spent={limit.meter.name: limit.gone for limit in self._limits},
                committed=committed,
                kept={limit.meter.name: limit.limit for limit in self._limits},
                in_flight=self._in_flight + self._others_in_flight,
                need=None if need is None else self._named(need),
                is_over=self.is_spent,
            )

    def _named(self, shares: Sequence[float]) -> Amounts:
        return {n.meter.name: share for n, share in zip(self._limits, shares, strict=True)}

    def _take(self, reply: Reply) -> None:
        with self._lock:
            for limit in self._limits:
                limit.limit = reply.allowance[limit.meter.name]
            self._room, self._all_spent = reply.room, reply.spent
            self.is_spent = self.is_spent or reply.is_over
        self._let_go_on()

    def _break(self, error: Exception) -> None:
        with self._lock:
            self._broken, self.is_spent = error, True
        self._let_go_on()

    def _let_go_on(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the pool is closed: nobody waits any more
                loop.call_soon_threadsafe(self._go_on)

    def _close(self, lender: Lends, loan: str) -> None:
        try:
            lender.close(loan, self._statement(give_back=True))
        except Exception as error:  # noqa: BLE001 - settled from the usage log, as for a dead one
            log.warning("the budget's lender could not be told of the end of a shard: %s", error)

    def _refusal(self) -> Exception:
        if self._broken is not None:
            return self._broken
        named = [(name, limit) for name, limit in self._given.items() if limit is not None]
        return refusal((name, limit, self._all_spent.get(name, 0.0)) for name, limit in named)

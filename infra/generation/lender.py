"""A budget that one process lends out, for several that ask for the same run to keep together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arbitrage.infra.store.usage import Mark

# A borrower speaks twice a second: one not heard of for so long may be dead.
_SILENT_S = 2.0
# A borrower gets what it uses in some seconds, since all of that counts as spent where it dies, and
# of what is left at most one part in so many times their number.
_AGAIN_S = 1.0
_PARTS = 4
_ROUNDING = 1e-9

Amounts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a borrower says of its loan; amounts are totals since it was opened.

    Attributes:
        number: counts up, so that one that arrives late or twice changes nothing.
        spent, committed: by what has ended, and expected of what is in flight.
        kept: what it will not go beyond until it is lent more.
        in_flight: requests and questions.
        need: what somebody waits for, more than `kept`; None: nobody waits.
        is_over: whether it found the budget spent for good.
    """

    number: int
    spent: Amounts
    committed: Amounts
    kept: Amounts
    in_flight: int
    need: Amounts | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What a borrower is told.

    Attributes:
        allowance: what it may spend, all in all since its loan was opened.
        is_short: others wait for what it does not need now.
        room: what is left where nobody holds anything; it will never be more. Else None.
        is_over: the budget is spent for good.
        spent: by all, and before.
        is_known: False where the loan was settled, as its shard was let go.
    """

    allowance: Amounts
    is_short: bool
    room: Amounts | None
    is_over: bool
    spent: Amounts
    is_known: bool = True


@dataclass(slots=True)
class _Loan:
    shard: int
    mark: Mark
    heard: float
    spent: Amounts
    committed: Amounts
    allowance: Amounts
    lent_at: float
    number: int = 0
    in_flight: int = 0
    times: float = 1.0

    def held(self, name: str) -> float:
        """What nobody else can have: more than the allowance where answers cost more."""
        return max(self.allowance[name], self.spent[name] + self.committed[name])


class Lender:
    """Lends parts of a run's limits to those who complete its shards; all together keep them.

    What is lent and what was spent never come to more than a limit, but for answers that cost more
    than was expected of them (see Budget). Somebody's need that does not fit waits while others
    hold anything, who are told to give back what they do not need now. Where nobody does, the
    budget is spent for good.

    A borrower that died keeps nobody waiting: once its shard is taken over, or somebody waits and
    its shard was let go, what it was lent counts as spent, since nobody knows what it had in
    flight; and what the usage log says where that is more. Thread-safe.

    Args:
        limits: by name: usd, tokens, requests.
        before: what the run has spent before.
        borrowers: the most there are at a time.
        is_let_go: whether no process works on a shard.
        used_since: what was counted from a mark on, by name.
        clock: seconds; says only when to look whether a silent borrower is dead.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        before: Mapping[str, float],
        borrowers: int,
        is_let_go: Callable[[int], bool],
        used_since: Callable[[Mark], Mapping[str, float]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = dict(limits)
        self._closed = {name: before.get(name, 0.0) for name in limits}
        self._is_over = any(self._closed[name] >= limit for name, limit in limits.items())
        self._part = 1 / (_PARTS * borrowers)
        self._is_let_go, self._used_since, self._clock = is_let_go, used_since, clock
        self._loans: dict[str, _Loan] = {}
        self._waiting: set[str] = set()
        self._lock = threading.Lock()

    def open(self, loan: str, shard: int, mark: Mark) -> Reply:
        """Begin a loan for a shard that its borrower holds: whoever held it before is dead."""
        with self._lock:
            if loan not in self._loans:
                for other in [name for name, its in self._loans.items() if its.shard == shard]:
                    self._settle(other)
                now = self._clock()
                nothing = dict.fromkeys(self._limits, 0.0)
                self._loans[loan] = _Loan(shard, mark, now, nothing, nothing, {**nothing}, now)
            return self._reply(loan)

    def exchange(self, loan: str, said: Statement) -> Reply:
        """Hear how a loan stands, and lend more where there is a need and room for it."""
        with self._lock:
            if self._hear(loan, said):
                if said.need is None:
                    self._waiting.discard(loan)
                else:
                    self._lend(loan, said.need)
            return self._reply(loan)

    def close(self, loan: str, said: Statement) -> None:
        """End a loan: what is still in flight will not be told any more and counts as expected."""
        with self._lock:
            self._hear(loan, said)
            if loan in self._loans:
                its = self._loans[loan]
                self._end(loan, {n: its.spent[n] + its.committed[n] for n in its.spent})

    def _hear(self, loan: str, said: Statement) -> bool:
        its = self._loans.get(loan)
        if its is None or said.number <= its.number:
            return False
        its.number, its.heard, its.in_flight = said.number, self._clock(), said.in_flight
        its.spent, its.committed = dict(said.spent), dict(said.committed)
        its.allowance = dict(said.kept)
        self._is_over = self._is_over or said.is_over
        return True

    def _lend(self, loan: str, need: Amounts) -> None:
        if not self._fits(need):
            self._settle_the_dead(loan)
        if not self._fits(need):
            self._waiting.add(loan)
            return
        self._waiting.discard(loan)
        its, room, now = self._loans[loan], self._room(), self._clock()
        soon = now - its.lent_at < _AGAIN_S
        its.times, its.lent_at = max(1.0, its.times * (2.0 if soon else 0.5)), now
        for name in self._limits:
            needed = need.get(name, 0.0)
            ahead = 0.0 if self._waiting else min(needed * its.times, room[name] * self._part)
            its.allowance[name] += max(needed, ahead)

    def _fits(self, need: Amounts) -> bool:
        room = self._room()
        return all(need.get(name, 0.0) <= left for name, left in room.items())

    def _room(self) -> Amounts:
        # Ten times a tenth must still be one.
        return {
            name: limit * (1 + _ROUNDING)
            - self._closed[name]
            - sum(its.held(name) for its in self._loans.values())
            for name, limit in self._limits.items()
        }

    def _holds(self, its: _Loan) -> bool:
        return its.in_flight > 0 or any(
            its.held(name) > its.spent[name] + limit * _ROUNDING
            for name, limit in self._limits.items()
        )

    def _settle_the_dead(self, asking: str) -> None:
        now = self._clock()
        for name, its in list(self._loans.items()):
            if name == asking or not self._holds(its) or now - its.heard < _SILENT_S:
                continue
            its.heard = now
            if self._is_let_go(its.shard):
                self._settle(name)

    def _settle(self, loan: str) -> None:
        its = self._loans[loan]
        used = self._used_since(its.mark)
        cost = {name: max(used.get(name, 0.0), its.held(name)) for name in self._limits}
        self._end(loan, cost)

    def _end(self, loan: str, cost: Amounts) -> None:
        for name, amount in cost.items():
            self._closed[name] += amount
        del self._loans[loan]
        self._waiting.discard(loan)

    def _reply(self, loan: str) -> Reply:
        its = self._loans.get(loan)
        everyone = self._loans.values()
        spent = {
            name: closed + sum(other.spent[name] for other in everyone)
            for name, closed in self._closed.items()
        }
        return Reply(
            allowance={} if its is None else dict(its.allowance),
            is_short=bool(self._waiting - {loan}),
            room=None if any(self._holds(other) for other in everyone) else self._room(),
            is_over=self._is_over,
            spent=spent,
            is_known=its is not None,
        )

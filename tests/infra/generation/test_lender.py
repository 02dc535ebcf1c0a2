"""Who lends a budget out: never more than there is, and nothing kept back by the dead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.infra.generation.lender import Amounts, Lender, Reply, Statement
from arbitrage.infra.store.usage import Mark

MARK = Mark("00000.jsonl", 0)


@dataclass
class Around:
    """What a lender sees besides what it is told: whose lock is free, what the log says."""

    let_go: set[int] = field(default_factory=set)
    used: Amounts = field(default_factory=dict)
    now: float = 0.0
    looked: list[int] = field(default_factory=list)

    def lender(self, limit: float, before: float = 0.0, borrowers: int = 2) -> Lender:
        def is_let_go(shard: int) -> bool:
            self.looked.append(shard)
            return shard in self.let_go

        named = {"requests": limit}, {"requests": before}
        return Lender(*named, borrowers, is_let_go, lambda _: self.used, clock=lambda: self.now)


def said(
    number: int, *, spent: float = 0, committed: float = 0, kept: float | None = None, **more: Any
) -> Statement:
    held = spent + committed if kept is None else kept
    need = more.pop("need", None)
    return Statement(
        number,
        {"requests": spent},
        {"requests": committed},
        {"requests": held},
        more.pop("in_flight", int(committed)),
        need={"requests": need} if need else None,
        **more,
    )


def lent(reply: Reply) -> float:
    return reply.allowance["requests"]


def test_what_is_lent_at_once_is_what_is_used_in_some_seconds_and_less_at_the_end() -> None:
    around = Around()
    lender = around.lender(100_000)
    assert lent(lender.open("a", 0, MARK)) == 0
    spent, parts = 0.0, []
    for number in range(1, 10):
        around.now += 10.0 if number == 9 else 0.1
        now = lent(lender.exchange("a", said(number, spent=spent, need=1)))
        parts.append(now - spent)
        spent = now
    assert parts == [2, 4, 8, 16, 32, 64, 128, 256, 128]
    # One of two borrowers has never more than an eighth of what is left.
    lender.exchange("a", said(10, spent=99_984))
    assert lent(lender.exchange("a", said(11, spent=99_984, need=1))) == pytest.approx(99_986)
    lender.exchange("a", said(12, spent=99_999))
    assert lent(lender.exchange("a", said(13, spent=99_999, need=1))) == pytest.approx(100_000)


def test_one_that_needs_more_waits_while_others_hold_something_and_they_are_told() -> None:
    lender = Around().lender(10)
    lender.open("a", 0, MARK)
    lender.open("b", 1, MARK)
    lender.exchange("a", said(1, spent=2, kept=10))
    reply = lender.exchange("b", said(1, need=3))
    assert (lent(reply), reply.room, reply.is_short) == (0, None, False)
    assert lender.exchange("a", said(2, spent=2, committed=1, kept=10)).is_short
    lender.exchange("a", said(3, spent=2, committed=1))
    assert lent(lender.exchange("b", said(2, need=3))) == pytest.approx(3, abs=0.6)
    assert not lender.exchange("a", said(4, spent=3)).is_short


def test_where_nobody_holds_anything_what_is_left_is_all_there_will_be() -> None:
    lender = Around().lender(10, before=4)
    lender.open("a", 0, MARK)
    lender.open("b", 1, MARK)
    lender.exchange("b", said(1, spent=4))
    reply = lender.exchange("a", said(1, spent=1, need=2))
    assert reply.room == {"requests": pytest.approx(1)}
    assert reply.spent == {"requests": 9}
    lender.exchange("a", said(2, spent=1, is_over=True))
    assert lender.exchange("b", said(2, spent=4)).is_over
    assert lender.open("c", 2, MARK).is_over


def test_a_run_that_has_spent_its_budget_lends_nothing() -> None:
    assert Around().lender(10, before=10).open("a", 0, MARK).is_over
    assert not Around().lender(10, before=9).open("a", 0, MARK).is_over


def test_what_is_said_late_or_twice_changes_nothing() -> None:
    lender = Around().lender(80)
    lender.open("a", 0, MARK)
    first = lender.exchange("a", said(2, spent=5, need=1))
    assert lender.exchange("a", said(2, spent=5, need=1)) == first
    assert lender.exchange("a", said(1, need=1)) == first
    assert lender.open("a", 0, MARK) == first


def test_a_closed_loan_gives_back_what_was_not_used_and_counts_what_nobody_will_tell() -> None:
    lender = Around().lender(10)
    lender.open("a", 0, MARK)
    lender.exchange("a", said(1, kept=9))
    lender.close("a", said(2, spent=3, committed=2))
    reply = lender.open("b", 1, MARK)
    assert reply.room == {"requests": pytest.approx(5)}
    assert not lender.exchange("a", said(3, spent=4)).is_known
    lender.close("a", said(4, spent=4))
    assert lender.exchange("b", said(1)).room == {"requests": pytest.approx(5)}


@pytest.mark.parametrize(("logged", "cost"), [(0, 8), (8, 8), (9, 9)])
def test_who_takes_a_shard_over_settles_the_loan_of_the_dead(logged: float, cost: float) -> None:
    """What was lent is spent, for nobody knows what was in flight; more, where more is known."""
    around = Around(used={"requests": logged})
    lender = around.lender(20)
    lender.open("a", 0, MARK)
    lender.exchange("a", said(1, spent=3, committed=2, kept=8))
    reply = lender.open("b", 0, MARK)
    assert reply.room == {"requests": pytest.approx(20 - cost)}
    assert not lender.exchange("a", said(2)).is_known


def test_who_waits_gets_what_a_dead_one_held_once_its_lock_is_free() -> None:
    around = Around(used={"requests": 3})
    lender = around.lender(10)
    lender.open("a", 0, MARK)
    lender.open("b", 1, MARK)
    lender.exchange("b", said(1, spent=4))
    lender.exchange("a", said(1, spent=2, kept=5))
    assert lent(lender.exchange("b", said(2, spent=4, need=2))) == 4
    assert around.looked == []  # it spoke a moment ago
    around.now = 10.0
    for number in (3, 4):
        reply = lender.exchange("b", said(number, spent=4, need=2))
        assert (lent(reply), reply.room) == (4, None)
    assert around.looked == [0]  # silent, but it has its lock: looked for once in a while
    around.let_go, around.now = {0}, 20.0
    reply = lender.exchange("b", said(5, spent=4, need=2))
    assert (lent(reply), reply.room) == (4, {"requests": pytest.approx(1)})
    assert lent(lender.exchange("b", said(6, spent=4, need=1))) == pytest.approx(5)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_lent_and_spent_never_exceeds_the_limit_and_nobody_waits_for_ever(
    data: st.DataObject,
) -> None:
    limit = data.draw(st.integers(1, 40))
    around = Around()
    lender = around.lender(limit, borrowers=3)
    spent = 0
    alive = {name: _Borrower(name, shard) for shard, name in enumerate("abc")}
    for one in alive.values():
        one.tell(lender.open(one.name, one.shard, MARK))
    for _ in range(data.draw(st.integers(1, 60))):
        one = alive[data.draw(st.sampled_from("abc"))]
        if data.draw(st.booleans()):
            one.spend()
        one.tell(lender.exchange(one.name, one.statement(data.draw(st.booleans()))))
        spent = sum(one.spent + one.flying for one in alive.values())
        assert spent <= limit
        assert sum(one.allowance for one in alive.values()) <= limit * (1 + 1e-6)
    # Whatever happened: everybody wants one more again and again, and it comes to an end.
    for _ in range(500):
        for one in alive.values():
            one.spend()
            one.land()
            one.tell(lender.exchange(one.name, one.statement(wants=True)))
    assert sum(one.spent for one in alive.values()) == limit
    assert all(one.room is not None and one.room < 1 for one in alive.values())


@dataclass
class _Borrower:
    name: str
    shard: int
    number: int = 0
    spent: int = 0
    flying: int = 0
    allowance: float = 0.0
    short: bool = False
    room: float | None = None

    def spend(self) -> None:
        if self.spent + self.flying + 1 <= self.allowance * (1 + 1e-9):
            self.flying += 1

    def land(self) -> None:
        self.spent, self.flying = self.spent + self.flying, 0

    def statement(self, wants: bool) -> Statement:
        self.number += 1
        wants = wants and self.spent + self.flying + 1 > self.allowance * (1 + 1e-9)
        if wants or self.short:
            self.allowance = min(self.allowance, self.spent + self.flying)
        need = 1 if wants else None
        return said(
            self.number, spent=self.spent, committed=self.flying, kept=self.allowance, need=need
        )

    def tell(self, reply: Reply) -> None:
        self.allowance, self.short = lent(reply), reply.is_short
        self.room = reply.room and reply.room["requests"]

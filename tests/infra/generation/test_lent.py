"""Several processes' budgets out of one, here in threads: together they keep the limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig
from arbitrage.config.model import RunSection
from arbitrage.errors import ArbitrageError
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.generation.lender import Lender, Reply, Statement
from arbitrage.infra.generation.lent import LentBudget
from arbitrage.infra.store.usage import Mark
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Sample,
    Teacher,
    TeacherError,
    TeacherParams,
    Usage,
)

MARK = Mark("00000.jsonl", 0)
REQUEST = Request("p", "tr", "t", (("user", "selam"),), (Sample(0, "c", 1),))


class Priced(Teacher):
    """Answers after a moment, for one cost each; the first ones for those it was given."""

    Params = TeacherParams

    def __init__(self, costs: Sequence[float] = (), fails: int = 0) -> None:
        config = {"name": "t", "backend": "openai", "cost_per_million_tokens": 1e6}
        self.config = TeacherConfig.model_validate(config | {"sampling": {"max_tokens": 1}})
        self.params = TeacherParams()
        self._costs, self._fails = list(costs), fails
        self.asked, self.cost = 0, 0.0

    async def generate(self, request: Request) -> list[Completion]:
        number, self.asked = self.asked, self.asked + 1
        await asyncio.sleep(0)
        if number < self._fails:
            raise TeacherError("generate.server_error", "x", transient=True)
        cost = self._costs[number] if number < len(self._costs) else 1.0
        self.cost += cost
        return [Completion(0, "x", usage=Usage(1, 1, cost_usd=cost))]

    async def check(self) -> str:
        return ""


def lender(borrowers: int = 3, *, let_go: bool = False, **limits: float) -> Lender:
    return Lender(limits, {}, borrowers, lambda _: let_go, lambda _: {})


def a_budget(**limits: Any) -> LentBudget:
    return LentBudget(RunSection(**{f"budget_{name}": limit for name, limit in limits.items()}))


def ask(budget: LentBudget, teacher: Teacher, count: int) -> list[BaseException]:
    """The errors of `count` requests at once."""

    async def run() -> list[Any]:
        asked = (budget.ask(teacher, REQUEST) for _ in range(count))
        return await asyncio.gather(*asked, return_exceptions=True)

    return [done for done in asyncio.run(run()) if isinstance(done, BaseException)]


def spent_errors(errors: list[BaseException]) -> list[str]:
    assert all(isinstance(error, TeacherError) for error in errors), errors
    assert {error.reason for error in errors if isinstance(error, TeacherError)} <= {SPENT}
    return [str(error) for error in errors]


def over_shards(lends: Any, teachers: Sequence[Priced], count: int, **limits: Any) -> list[str]:
    """Each teacher asked `count` times by a process of its own; what was refused, in words."""

    def shard(number: int) -> list[BaseException]:
        budget = a_budget(**limits)
        with budget.borrowing(lends, number, MARK):
            return ask(budget, teachers[number], count)

    with ThreadPoolExecutor(len(teachers)) as threads:
        return [
            error
            for errors in threads.map(shard, range(len(teachers)))
            for error in spent_errors(errors)
        ]


def test_all_together_send_what_one_would_have_sent_and_no_more() -> None:
    teachers = [Priced(), Priced(fails=2), Priced()]
    lends = lender(requests=20, usd=100)

    def shard(number: int) -> list[BaseException]:
        budget = a_budget(requests=20, usd=100)
        with budget.borrowing(lends, number, MARK):
            return ask(budget, teachers[number], 12)

    with ThreadPoolExecutor(3) as threads:
        errors = [error for some in threads.map(shard, range(3)) for error in some]
    refused = [str(error) for error in errors if "server_error" not in str(error)]
    assert sum(teacher.asked for teacher in teachers) == 20
    assert len(refused) == 36 - 20
    assert all("run.budget_requests = 20 (20 spent)" in said for said in refused)
    reply = lends.open("later", 9, MARK)
    assert (reply.is_over, reply.spent["requests"]) == (True, 20)


def test_enough_for_all_refuses_nothing_though_some_need_much_more_than_others() -> None:
    teachers = [Priced(), Priced(), Priced()]
    lends = lender(usd=36, tokens=72)
    assert over_shards(lends, teachers, 12, usd=36, tokens=72) == []
    assert lends.open("later", 9, MARK).spent == {"usd": 36, "tokens": 72}
    assert over_shards(lender(requests=30), [Priced(), Priced(), Priced()], 10, requests=30) == []


def test_one_shard_after_another_in_one_process() -> None:
    lends, budget, teacher = lender(requests=10), a_budget(requests=10), Priced()
    for shard in range(3):
        with budget.borrowing(lends, shard, MARK):
            errors = ask(budget, teacher, 4)
    assert len(spent_errors(errors)) == 2
    assert teacher.asked == 10
    with budget.borrowing(lends, 3, MARK):  # known before anything waits
        assert len(spent_errors(ask(budget, teacher, 4))) == 4


@settings(max_examples=25, deadline=None)
@given(limit=st.integers(1, 25), cost=st.sampled_from([0.1, 0.25, 0.7, 1.0]))
def test_with_a_known_bound_the_limit_holds_to_the_cent(limit: int, cost: float) -> None:
    teachers = [Priced([cost] * 12), Priced([cost] * 12)]
    refused = over_shards(lender(2, usd=limit), teachers, 12, usd=limit)
    total = sum(teacher.cost for teacher in teachers)
    assert total <= limit * (1 + 1e-6)
    assert sum(teacher.asked for teacher in teachers) + len(refused) == 24
    if refused:  # 1 is what the first one is expected to cost
        assert total + 1 > limit


@settings(max_examples=25, deadline=None)
@given(limit=st.integers(5, 25), costs=st.lists(st.floats(0, 3), max_size=12))
def test_what_answers_cost_beyond_what_was_expected_is_counted_too(
    limit: int, costs: list[float]
) -> None:
    lends, teachers = lender(2, usd=limit), [Priced(costs), Priced(costs[::-1])]
    refused = over_shards(lends, teachers, 12, usd=limit)
    total = sum(teacher.cost for teacher in teachers)
    assert lends.open("later", 9, MARK).spent["usd"] == pytest.approx(total)
    assert sum(teacher.asked for teacher in teachers) + len(refused) == 24


def test_questions_to_reward_servers_take_from_the_same() -> None:
    lends, budget, teacher = lender(requests=10), a_budget(requests=10), Priced()
    with budget.borrowing(lends, 0, MARK):
        assert ask(budget, teacher, 4) == []
        paid = 0
        while True:
            said = budget.commit_other({"requests": 1.0})
            if said is False:
                break
            if said:
                paid += 1
                budget.settle_other({"requests": 1.0}, {"requests": 1.0})
    assert paid == 6
    assert lends.open("later", 1, MARK).spent == {"requests": 10}


def test_who_waits_for_the_share_of_a_dead_process_goes_on_once_its_lock_is_free() -> None:
    lock_is_free = threading.Event()
    lends = Lender({"requests": 6.0}, {}, 2, lambda _: lock_is_free.is_set(), lambda _: {})
    lends.open("dead", 0, MARK)
    last_word = Statement(1, {"requests": 1}, {"requests": 1}, {"requests": 3}, in_flight=1)
    lends.exchange("dead", last_word)
    looked = threading.Event()

    class Watched:
        """A lender that says when somebody is refused room."""

        def open(self, loan: str, shard: int, mark: Mark) -> Reply:
            return lends.open(loan, shard, mark)

        def exchange(self, loan: str, said: Statement) -> Reply:
            reply = lends.exchange(loan, said)
            if said.need is not None and reply.allowance == said.kept:
                looked.set()
            return reply

        def close(self, loan: str, said: Statement) -> None:
            lends.close(loan, said)

    teacher, budget = Priced(), a_budget(requests=6)

    def shard() -> list[BaseException]:
        with budget.borrowing(Watched(), 1, MARK):
            return ask(budget, teacher, 9)

    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(shard)
        assert looked.wait(120)
        assert not coming.done()
        lock_is_free.set()
        errors = coming.result(120)
    # It was lent three; nobody knows whether it sent the last one.
    assert (teacher.asked, len(spent_errors(errors))) == (3, 6)


class Gone:
    """A lender whose process dies after the first words."""

    def open(self, loan: str, shard: int, mark: Mark) -> Reply:
        return Reply({"requests": 0.0}, False, None, False, {"requests": 0.0})

    def exchange(self, loan: str, said: Statement) -> Reply:
        raise ArbitrageError("it is gone.")

    def close(self, loan: str, said: Statement) -> None:
        raise ArbitrageError("it is gone.")


def test_without_its_lender_everybody_is_told_and_nobody_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    budget = a_budget(requests=5)
    with budget.borrowing(Gone(), 0, MARK):
        errors = ask(budget, Priced(), 3)
        with pytest.raises(ArbitrageError, match="it is gone"):
            budget.commit_other({"requests": 1.0})
    assert [type(error) for error in errors] == [ArbitrageError] * 3
    assert "could not be told of the end" in caplog.text


def test_a_loan_that_was_settled_meanwhile_asks_nothing_more() -> None:
    lends, budget = lender(requests=5, let_go=True), a_budget(requests=5)
    with budget.borrowing(lends, 0, MARK):
        lends.open("who took it over", 0, MARK)
        (error,) = ask(budget, Priced(), 1)
    assert "shard 0 was given to another process" in str(error)


def test_a_question_that_is_never_settled_counts_as_expected() -> None:
    lends, budget = lender(tokens=50), a_budget(tokens=50)
    said: bool | None = None
    with budget.borrowing(lends, 0, MARK):
        while said is None:
            said = budget.commit_other({"tokens": 20.0})
    assert said
    reply = lends.open("later", 1, MARK)
    room: Mapping[str, float] = reply.room or {}
    assert room["tokens"] == pytest.approx(30)

"""A budget: nothing more is sent once it is spent, and what is in flight may still end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig, parse_config
from arbitrage.config.model import RunSection
from arbitrage.errors import ConfigError
from arbitrage.infra.generation.budget import SPENT, Budget
from arbitrage.infra.generation.meters import Dollars
from arbitrage.infra.generation.pool import TeacherPool
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Sample,
    Teacher,
    TeacherError,
    TeacherParams,
    Usage,
)

REQUEST = Request("p", "tr", "t", (("user", "selam"),), (Sample(0, "c", 1),))


class Priced(Teacher):
    """Answers after a moment for the costs it was given, then for the last one."""

    Params = TeacherParams

    def __init__(self, costs, max_tokens=None, fails=()):
        given = {"name": "t", "backend": "openai", "cost_per_million_tokens": 1e6}
        self.config = TeacherConfig.model_validate(
            given | {"sampling": {"max_tokens": max_tokens} if max_tokens else {}}
        )
        self.params = TeacherParams()
        self._costs, self._fails, self.asked = list(costs), set(fails), 0

    async def generate(self, request):
        number, self.asked = self.asked, self.asked + 1
        await asyncio.sleep(0)
        if number in self._fails:
            raise TeacherError("generate.server_error", "x", transient=True)
        cost = self._costs[min(number, len(self._costs) - 1)]
        return [Completion(0, "x", usage=Usage(1, 1, cost_usd=cost))]

    async def check(self):
        return ""


def _ask_all(budget, teacher, count):
    """How many of `count` requests at once were answered, and the reasons of the rest."""

    async def run():
        asked = (budget.ask(teacher, REQUEST) for _ in range(count))
        return await asyncio.gather(*asked, return_exceptions=True)

    done = asyncio.run(run())
    errors = [item for item in done if isinstance(item, BaseException)]
    assert all(isinstance(error, TeacherError) for error in errors)
    return count - len(errors), {error.reason for error in errors}


def test_with_a_known_bound_the_limit_holds_to_the_cent():
    budget, teacher = Budget(10.0), Priced([1.0], max_tokens=1)
    assert _ask_all(budget, teacher, 50) == (10, {SPENT})
    assert (budget.spent("usd"), budget.committed("usd"), teacher.asked) == (10.0, 0.0, 10)


def test_requests_wait_for_cheaper_answers_than_their_bound():
    budget, teacher = Budget(10.0), Priced([0.5], max_tokens=4)
    assert _ask_all(budget, teacher, 50) == (20, {SPENT})
    assert budget.spent("usd") == pytest.approx(10.0)


def test_what_was_spent_before_counts():
    teacher = Priced([1.0], max_tokens=1)
    assert _ask_all(Budget(3.0, spent={"usd": 1.0}), teacher, 9) == (2, {SPENT})
    assert _ask_all(Budget(3.0, spent={"usd": 3.0}), teacher, 9) == (0, {SPENT})
    assert teacher.asked == 2


def test_a_budget_that_is_large_enough_changes_nothing():
    assert _ask_all(Budget(100.0), Priced([1.0], max_tokens=1), 50) == (50, set())


def test_a_failed_request_gives_back_what_was_committed():
    budget, teacher = Budget(2.0), Priced([1.0], max_tokens=1, fails={0, 1})
    assert _ask_all(budget, teacher, 5) == (2, {"generate.server_error", SPENT})
    assert budget.spent("usd") == 2.0


def test_a_refusal_is_retryable_so_that_a_resumed_run_asks_again():
    async def run():
        with pytest.raises(TeacherError) as caught:
            await Budget(1.0, spent={"usd": 1.0}).ask(Priced([1.0]), REQUEST)
        return caught.value

    error = asyncio.run(run())
    assert (error.retryable, error.transient) == (True, False)
    assert "run.budget_usd = 1" in error.detail


def test_a_budget_of_requests_counts_those_that_fail_too():
    budget, teacher = Budget(requests=5), Priced([1.0], fails={0, 1})
    assert _ask_all(budget, teacher, 50) == (3, {"generate.server_error", SPENT})
    assert (budget.spent("requests"), teacher.asked) == (5, 5)


def test_a_budget_of_tokens_takes_what_the_server_counts():
    budget, teacher = Budget(tokens=10), Priced([1.0], max_tokens=1)
    assert _ask_all(budget, teacher, 50) == (5, {SPENT})
    assert budget.spent("tokens") == 10


def test_the_first_limit_that_is_reached_ends_it():
    teacher = Priced([1.0], max_tokens=1)
    assert _ask_all(Budget(100.0, tokens=1000, requests=4), teacher, 50) == (4, {SPENT})
    assert _ask_all(Budget(2.0, tokens=1000, requests=40), teacher, 50) == (2, {SPENT})
    assert teacher.asked == 6


def test_a_budget_is_none_where_the_config_sets_none():
    assert Budget.of(RunSection(), {}) is None
    budget = Budget.of(RunSection(budget_requests=3), {"requests": 2.0, "usd": 9.0})
    assert _ask_all(budget, Priced([1.0]), 9) == (1, {SPENT})


def test_a_cancelled_wait_leaves_nothing_committed():
    async def run():
        budget, teacher = Budget(1.0), Priced([1.0], max_tokens=1)
        tasks = [asyncio.ensure_future(budget.ask(teacher, REQUEST)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (budget.committed("usd"), budget.spent("usd")) == (0.0, 0.0)
        return await budget.ask(teacher, REQUEST)

    assert asyncio.run(run())


def test_a_question_of_another_thread_never_meets_a_request_that_is_half_settled(monkeypatch):
    """Its share given back and its cost not counted yet, the same money would be spent twice."""
    budget, teacher = Budget(usd=1.0), Priced([0.5], max_tokens=1)
    said, cost, asking = [], Dollars.cost, []

    def asked_meanwhile(self, *given):
        if not asking:
            ask = lambda: said.append(budget.commit_other({"usd": 0.75}))  # noqa: E731
            asking.append(threading.Thread(target=ask))
            asking[0].start()
            asking[0].join(0.5)  # ends meanwhile only where nothing keeps it out
        return cost(self, *given)

    monkeypatch.setattr(Dollars, "cost", asked_meanwhile)
    asyncio.run(budget.ask(teacher, REQUEST))
    asking[0].join()
    assert said == [False]


@settings(max_examples=50, deadline=None)
@given(
    limit=st.floats(0.5, 20),
    costs=st.lists(st.floats(0, 2), min_size=1, max_size=10),
    count=st.integers(1, 30),
    fails=st.sets(st.integers(0, 30)),
)
def test_never_more_than_the_limit_where_answers_keep_their_bound(limit, costs, count, fails):
    budget = Budget(limit)
    bounded = Priced([max(costs)], max_tokens=None, fails=fails)
    bounded.config = bounded.config.model_copy(
        update={"cost_per_million_tokens": max(costs) * 1e6, "sampling": _one_token()}
    )
    answered, _ = _ask_all(budget, bounded, count)
    assert budget.spent("usd") <= limit * (1 + 1e-6)
    assert budget.committed("usd") == 0.0
    assert answered <= count


@settings(max_examples=50, deadline=None)
@given(cost=st.floats(1e-7, 10), count=st.integers(1, 40))
def test_so_many_requests_fit_a_budget_of_so_many_times_their_cost(cost, count):
    teacher = Priced([cost], max_tokens=1)
    price = {"cost_per_million_tokens": cost * 1e6, "sampling": _one_token()}
    teacher.config = teacher.config.model_copy(update=price)
    assert _ask_all(Budget(count * cost), teacher, 50) == (count, {SPENT})


def _one_token():
    return TeacherConfig.model_validate(
        {"name": "t", "backend": "openai", "sampling": {"max_tokens": 1}}
    ).sampling


def test_in_a_pool_what_is_left_fails_and_no_more_is_sent(
    stand_in, openai_teacher, requests_for, collected
):
    with stand_in.StandIn(stand_in.Behaviour(tokens=8, latency_s=0.01)) as server:
        config = openai_teacher(
            server.base_url,
            cost_per_million_tokens=1000.0,
            sampling={"max_tokens": 8},
            max_concurrency=16,
        )
        budget = Budget(usd=10 * 8 * 1000 / 1e6)
        with TeacherPool([config], budget=budget) as pool:
            counts = pool.complete(
                [requests_for(i) for i in range(100)], collected, threading.Event()
            )
        assert server.stats.requests == 10
    assert (counts.succeeded, counts.failed) == (10, 90)
    assert counts.reasons == {("t", SPENT): 90}
    assert budget.spent("usd") == pytest.approx(0.08)
    failures = [c for c in collected.by_id.values() if c.error]
    assert all(c.retryable for c in failures)


CONFIG = {
    "run": {"budget_usd": 1.0},
    "prompts": {"source": "p.parquet"},
    "teachers": [{"name": "a", "backend": "openai", "base_url": "http://x/v1"}],
}


def test_a_budget_over_a_teacher_without_a_price_is_an_error():
    with pytest.raises(ConfigError, match='what "a" costs is not known'):
        parse_config(CONFIG)
    assert parse_config(CONFIG, ["teachers.a.cost_per_million_tokens=0"]).run.budget_usd == 1.0


def test_the_budget_is_no_part_of_the_run():
    free = ["teachers.a.cost_per_million_tokens=0"]
    others = ["run.budget_requests=9", "run.budget_tokens=9"]
    more = parse_config(CONFIG, [*free, "run.budget_usd=2", *others])
    assert more.identity == parse_config(CONFIG, free).identity

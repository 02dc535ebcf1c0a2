"""What questions to reward servers cost: planned, counted, and held to the run's budget."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from reward_server import RewardServer
from run_configs import parsed, replay_data, run_steps

from arbitrage.answers import Asking, Use
from arbitrage.errors import ConfigError
from arbitrage.filters.independence import check_rewards
from arbitrage.filters.judge import JudgeParams
from arbitrage.filters.likelihood import LikelihoodParams
from arbitrage.filters.reward_model import RewardModelParams
from arbitrage.flows.plan import plan_run
from arbitrage.flows.redecide import redecide
from arbitrage.infra.generation.budget import Budget
from arbitrage.infra.generation.purse import Purse
from arbitrage.infra.report.planned import planned_rows
from arbitrage.infra.store import open_run
from arbitrage.infra.store.usage import UsageLog, read_usage

URL = "http://127.0.0.1:9/v1"
TOKENS = {"usage": {"prompt_tokens": 900, "completion_tokens": 100}}
PRICE = {"input": 1.0, "output": 1.0}  # a question of 1,000 tokens is 0.001 USD
EACH = 0.001


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        running.usage = TOKENS
        yield running


def data_of(folder: Path, server: RewardServer, way: str = "pointwise") -> dict[str, Any]:
    data = replay_data(folder, samples=2, per_language=2)
    judge = {"base_url": server.base_url, "model": "m", "concurrency": 3, "way": way}
    return {
        **data,
        "filters": {"judge": {**judge, "cost_per_million_tokens": PRICE, "reply_tokens": 100}},
        "select": {"objective": "maximize:judge.score", "per_prompt": 1},
        "views": {"sft": {}},
    }


@pytest.mark.parametrize(
    ("params", "answers", "expected"),
    [
        (RewardModelParams(base_url=URL, model="m"), 4, (4, 4, 4, 0)),
        (RewardModelParams(base_url=URL, model="m", send="texts", batch=3), 4, (2, 4, 4, 0)),
        (JudgeParams(base_url=URL, model="m", reply_tokens=9), 4, (4, 4, 4, 9)),
        (JudgeParams(base_url=URL, model="m", way="pairwise", reply_tokens=9), 4, (12, 12, 24, 9)),
        (JudgeParams(base_url=URL, model="m", way="checklist", reply_tokens=9), 4, (1, 1, 4, 9)),
        (JudgeParams(base_url=URL, model="m", way="checklist", listed=3), 4, (0, 0, 0, 1024)),
        (LikelihoodParams(base_url=URL, model="m"), 4, (5, 5, 4, 1)),
        (LikelihoodParams(base_url=URL, model="m"), 0, (0, 0, 0, 0)),
    ],
)
def test_each_way_says_what_it_asks_about_the_answers_to_a_prompt(
    params: Any, answers: int, expected: tuple[int, ...]
) -> None:
    found: Asking = params.asking(answers)
    assert (found.requests, found.prompts, found.answers, found.reply_tokens) == expected


@pytest.mark.parametrize("way", ["pointwise", "pairwise", "checklist"])
def test_a_plan_foresees_at_least_what_is_asked_and_calls_nobody(
    tmp_path: Path, server: RewardServer, way: str
) -> None:
    config = parsed(data_of(tmp_path, server, way))
    (planned,) = plan_run(config, 10.0).filters
    assert not server.bodies
    run = run_steps(config)
    assert planned.name == "[filters.judge]"
    assert planned.candidates == 80
    assert 0 < len(server.bodies) <= planned.requests
    assert planned.prompt_tokens
    assert planned.cost_usd
    assert planned.hours > 0
    manifest = open_run(run).manifest
    used = manifest["usage"]["[filters.judge]"]
    assert (used["requests"], used["failed"]) == (len(server.bodies), 0)
    assert used["prompt_tokens"] == 900 * len(server.bodies)
    assert used["cost_usd"] == pytest.approx(EACH * len(server.bodies))
    assert manifest["totals"]["cost_usd"] == pytest.approx(used["cost_usd"])
    (row,) = [row for row in planned_rows(manifest) if row.teacher == "[filters.judge]"]
    assert (row.planned["requests"], row.actual["requests"]) == (
        planned.requests,
        len(server.bodies),
    )


def test_a_budget_stops_the_questions_and_their_scores_are_null_with_a_cause(
    tmp_path: Path, server: RewardServer
) -> None:
    data = data_of(tmp_path, server)
    data["run"]["budget_usd"] = 10 * EACH
    run = run_steps(parsed(data))
    # Before its first answer a question is taken to cost its bound, so fewer go at once.
    assert len(server.bodies) == 10
    opened = open_run(run)
    candidates = opened.candidates.collect()
    spent = candidates["judge.cause"].to_list().count("budget_spent")
    assert spent == candidates["judge.score"].null_count() > 0
    assert opened.manifest["rewards"]["unscored"] == {"judge": {"budget_spent": spent}}
    totals = opened.manifest["totals"]
    assert totals["requested"] == totals["kept"] + totals["rejected"] + totals["failed"] == 80
    assert totals["cost_usd"] == pytest.approx(10 * EACH)


def test_a_budget_in_dollars_needs_the_price_of_every_server(
    tmp_path: Path, server: RewardServer
) -> None:
    data = data_of(tmp_path, server)
    data["run"]["budget_usd"] = 1.0
    del data["filters"]["judge"]["cost_per_million_tokens"]
    with pytest.raises(ConfigError, match=r"what \[filters.judge\] costs is not known"):
        check_rewards(parsed(data))


def test_what_deciding_again_asks_is_added_to_what_the_run_used(
    tmp_path: Path, server: RewardServer
) -> None:
    run = run_steps(parsed(data_of(tmp_path, server)))
    sent = len(server.bodies)
    again = redecide(run, overrides=['filters.judge.model="other"'], run_id="other")
    used = open_run(again).manifest["usage"]["[filters.judge]"]
    assert used["requests"] == len(server.bodies) == 2 * sent


def test_questions_and_teachers_share_one_budget() -> None:
    budget = Budget(usd=1.0)
    assert budget.commit_other({"usd": 0.6}) is True
    assert budget.commit_other({"usd": 0.6}) is None  # what is in flight may cost less
    budget.settle_other({"usd": 0.6}, {"usd": 0.5})
    assert budget.commit_other({"usd": 0.6}) is False
    assert budget.commit_other({"usd": 0.5}) is True
    budget.settle_other({"usd": 0.5}, {"usd": 0.5})
    assert (budget.spent("usd"), budget.committed("usd")) == (1.0, 0.0)


def test_a_teacher_that_waits_goes_on_when_a_question_leaves_room() -> None:
    """The question is settled from another thread while nothing else is in flight."""
    budget = Budget(requests=2)
    assert budget.commit_other({"requests": 2.0})

    async def ask() -> str:
        asked = asyncio.create_task(budget._commit(None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert not asked.done()
        settle = partial(budget.settle_other, {"requests": 2.0}, {"requests": 1.0})
        await asyncio.to_thread(settle)
        return str(await asyncio.wait_for(asked, 30))

    assert asyncio.run(ask()) == "[1.0]"


def test_what_a_server_does_not_tell_counts_as_expected(tmp_path: Path) -> None:
    log, budget = UsageLog(tmp_path), Budget(usd=1.0, requests=3)
    purse, most = Purse(log, budget), Use(100, 10, 0.25)
    for used in (Use(), Use(failed=True), Use(50, 5, 0.1)):
        assert purse.afford("judge", most)
        purse.used("judge", most, used)
    assert not purse.afford("judge", most)
    log.close()
    assert budget.spent("usd") == pytest.approx(0.35)
    assert read_usage(tmp_path)["[filters.judge]"]["requests"] == 3

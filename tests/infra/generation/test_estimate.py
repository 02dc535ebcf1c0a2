"""Plans: requests, tokens and costs before anything is sent, adding up over shards."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config import parse_config
from arbitrage.infra.generation.estimate import Planner, recorded_tokens, requests_per_prompt
from arbitrage.infra.generation.plan import Plan
from arbitrage.infra.generation.tokens import guess_tokens
from arbitrage.schema import PROMPTS, ROUTES, table_of

# Counted with Qwen's tokenizer (qwen.tiktoken of dashscope 2.0.2).
COUNTED = {
    "เมืองหลวงของตุรกีคืออะไร กรุณาอธิบายประวัติศาสตร์และวัฒนธรรมของเมืองนี้โดยสังเขป": 43,
    "What is the capital of Turkey? Explain its history in two or three short sentences.": 17,
}


def _config(**teacher):
    given = {"name": "a", "backend": "openai", "base_url": "http://x/v1"} | teacher
    run = {"samples": 4}
    return parse_config({"run": run, "prompts": {"source": "p"}, "teachers": [given]})


def _shard(texts, language="tr"):
    prompts = [
        {
            "prompt_id": f"{language}{i}",
            "messages": [{"role": "user", "content": text}],
            "language": language,
            "source": "s",
        }
        for i, text in enumerate(texts)
    ]
    routes = [
        {
            "prompt_id": p["prompt_id"],
            "language": language,
            "router": "uniform@1",
            "teachers": ["a"],
            "probabilities": [1.0],
            "drawn": ["a"],
            "propensities": [1.0],
            "samples": 4,
        }
        for p in prompts
    ]
    return table_of(prompts, PROMPTS), table_of(routes, ROUTES)


def _plan(config, *shards, recorded=None, seconds=10.0):
    planner = Planner(config, recorded or {}, seconds)
    for prompts, routes in shards:
        planner.add(prompts, routes, 1)
    return planner.plan()


@pytest.mark.parametrize(
    ("teacher", "requests"),
    [
        ({}, 1),
        ({"seeds": "per_sample"}, 4),
        ({"samples_per_request": 3}, 2),
        ({"sampling": {"greedy_samples": 1}}, 2),
        ({"sampling": {"greedy_samples": 1}, "samples_per_request": 2}, 3),
        ({"sampling": {"greedy_samples": 4}}, 1),
        ({"provider": "gemini"}, 4),
    ],
)
def test_requests_are_counted_as_they_will_be_sent(teacher, requests):
    config = _config(**teacher)
    assert requests_per_prompt(config.teachers[0], 4) == requests
    assert _plan(config, _shard(["selam"] * 5)).teachers[0].requests == 5 * requests


def test_costs_are_of_prompts_and_answers():
    price = {"input": 2.0, "output": 8.0}
    config = _config(cost_per_million_tokens=price, sampling={"max_tokens": 100})
    (teacher,) = _plan(config, _shard(["selam dünya"] * 10)).teachers
    assert (teacher.candidates, teacher.output_tokens) == (40, 4000)
    expected = (teacher.prompt_tokens * 2.0 + 4000 * 8.0) / 1e6
    assert teacher.cost_usd == teacher.expected_cost_usd == pytest.approx(expected)
    (unbounded,) = _plan(_config(cost_per_million_tokens=price), _shard(["x"])).teachers
    assert (unbounded.cost_usd, unbounded.output_tokens) == (None, None)


def test_a_prompt_is_paid_for_with_every_request_that_holds_it():
    shard = _shard(["Türkiye'nin başkenti neresidir?"] * 4)
    once = _plan(_config(), shard).teachers[0].prompt_tokens
    assert _plan(_config(seeds="per_sample"), shard).teachers[0].prompt_tokens == 4 * once
    with_system = _plan(_config(system="Kısa cevap ver."), shard).teachers[0].prompt_tokens
    assert with_system > once


def test_hours_are_the_longest_of_concurrency_and_limits():
    shard = _shard(["x"] * 360)
    hours = _plan(_config(max_concurrency=1), shard).teachers[0].hours
    assert hours == pytest.approx(1.0)
    limited = _config(max_concurrency=1, requests_per_minute=3)
    assert _plan(limited, shard).teachers[0].hours == pytest.approx(2.0)
    two = _config(max_concurrency=1, base_url=None, base_urls=["http://x/v1", "http://y/v1"])
    assert _plan(two, shard).teachers[0].hours == pytest.approx(0.5)


def test_the_plans_of_shards_add_up_to_the_runs():
    config = _config(cost_per_million_tokens=3.0, sampling={"max_tokens": 7})
    shards = [_shard(["ما هي"] * 3, "ar"), _shard(["土耳其的首都"] * 4, "zh")]
    parts = [Plan.from_json(_plan(config, shard).to_json()) for shard in shards]
    whole, added = _plan(config, *shards).to_json(), sum(parts, Plan()).to_json()
    (mine,), (its,) = whole.pop("teachers"), added.pop("teachers")
    assert whole == added
    assert {**mine, "hours": 0, "cost_usd": 0, "expected_cost_usd": 0} == {
        **its, "hours": 0, "cost_usd": 0, "expected_cost_usd": 0
    }  # fmt: skip
    assert mine["cost_usd"] == pytest.approx(its["cost_usd"])


def test_recordings_say_how_long_answers_will_be(tmp_path):
    path = tmp_path / "r.parquet"
    texts = {"a": ["x " * 100] * 3, "b": ["y"] * 2}
    rows = [
        {"prompt_id": f"p{i}", "teacher": name, "completion": text}
        for name, some in texts.items()
        for i, text in enumerate(some)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    replay = {"backend": "replay", "base_url": None, "recordings": str(path)}
    config = _config(**replay)
    recorded = recorded_tokens(config)
    assert recorded["a"] == pytest.approx(guess_tokens("x " * 100))
    (teacher,) = _plan(config, _shard(["selam"] * 3), recorded=recorded).teachers
    assert teacher.expected_output_tokens == round(12 * recorded["a"])
    assert (teacher.output_tokens, teacher.hours) == (None, 0.0)
    counted = [{**row, "completion_tokens": 9} for row in rows]
    pq.write_table(pa.Table.from_pylist(counted), path)
    assert recorded_tokens(config)["a"] == 9


@pytest.mark.parametrize(("text", "tokens"), COUNTED.items())
def test_guesses_are_near_what_a_tokenizer_counts(text, tokens):
    assert 0.7 * tokens < guess_tokens(text) < 1.4 * tokens


@pytest.mark.parametrize("text", ["", "🇹🇷👩‍👩‍👧", "a" * 10_000, "\u0301\u200d", "தமிழ்"])
def test_any_text_has_a_guess(text):
    assert 0 <= guess_tokens(text) <= 2 * len(text)

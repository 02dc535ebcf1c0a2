"""Tokens, costs, reasoning, tool calls and log-probabilities of an answer."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config import TokenPrice
from arbitrage.infra.teachers.base import Request, Sample
from arbitrage.infra.teachers.chat_answer import cost_shares, parse_answer, read_usage
from arbitrage.infra.teachers.chat_choice import read_content, read_logprobs

PRICE = TokenPrice(input=1.0, output=10.0, cached_input=0.5)


def _parse(choices, usage=None, price=PRICE):
    samples = tuple(Sample(j, f"c{j}", j) for j in range(len(choices)))
    request = Request("p", "th", "t", (("user", "สวัสดี"),), samples)
    answer = {"choices": choices, "usage": usage}
    return parse_answer(answer, request, latency_ms=1.0, price=price)


def _choice(content, **message):
    finish = message.pop("finish_reason", "stop")
    return {"message": {"content": content, **message}, "finish_reason": finish}


def test_cached_and_thought_tokens_are_read_and_paid():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    read = read_usage(usage, PRICE)
    assert (read.cached_tokens, read.reasoning_tokens) == (80, 15)
    assert read.cost_usd == pytest.approx((20 * 1.0 + 80 * 0.5 + 20 * 10) / 1e6)
    deepseek = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 80}
    assert read_usage(deepseek, PRICE).cost_usd == read.cost_usd


def test_thinking_that_only_the_total_counts_is_output():
    gemini = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    assert read_usage(gemini, PRICE).completion_tokens == 603


@pytest.mark.parametrize("usage", [None, [], {}, {"prompt_tokens": -1, "completion_tokens": "x"}])
def test_usage_that_is_not_told_costs_an_unknown_sum(usage):
    assert read_usage(usage, PRICE).cost_usd is None
    assert [c.cost_usd for c in _parse([_choice("a")], usage)] == [None]


def test_a_requests_cost_is_its_samples_costs_and_is_told_once():
    usage = {"prompt_tokens": 7, "completion_tokens": 30}
    done = _parse([_choice("กขค"), _choice("กขคงจฉ"), _choice("")], usage)
    whole = (7 + 300) / 1e6
    assert [c.cost_usd for c in done] == pytest.approx([whole / 3, whole * 2 / 3, 0.0])
    assert [c.usage is not None for c in done] == [True, False, False]
    assert done[0].usage.completion_tokens == 30
    assert [c.completion_tokens for c in done] == [None] * 3


def test_known_tokens_divide_the_cost_and_replace_a_missing_count():
    def with_logprobs(text, count):
        return {**_choice(text), "logprobs": {"content": [{"logprob": -0.5}] * count}}

    choices = [with_logprobs("aaaa", 1), with_logprobs("b", 3)]
    done = _parse(choices, {"prompt_tokens": 0})
    assert done[0].usage.completion_tokens == 4
    assert [c.cost_usd for c in done] == pytest.approx([10e-6, 30e-6])


@given(
    cost=st.floats(0, 100),
    samples=st.lists(
        st.tuples(st.none() | st.integers(0, 1000), st.integers(0, 50)), min_size=1, max_size=6
    ),
)
def test_shares_add_up_to_the_cost(cost, samples):
    counts, lengths = zip(*samples, strict=True)
    shares = cost_shares(cost, counts, lengths)
    assert all(share >= 0 for share in shares)
    assert math.fsum(shares) == pytest.approx(cost, abs=1e-9)


@pytest.mark.parametrize("never", [-math.inf, -9999.0, -1e30])
def test_a_drawn_token_of_no_probability_makes_the_sum_unknown(never):
    content = [
        {"token": "สวัส", "logprob": -0.5, "top_logprobs": [{"token": "x", "logprob": -math.inf}]},
        {"token": "ดี", "logprob": never, "bytes": [1]},
    ]
    assert read_logprobs({"logprobs": {"content": content}}) == (None, 2)
    assert read_logprobs({"logprobs": {"content": content[:1]}}) == (-0.5, 1)


def test_a_model_cut_off_while_it_thinks_has_no_answer():
    for cut in (
        _choice("", reasoning_content="düşünüyorum", finish_reason="length"),
        _choice("\n", reasoning="düşünüyorum", finish_reason="length"),
        _choice("<think>düşünüyorum", finish_reason="length"),
        _choice(None, reasoning_content="düşünüyorum", finish_reason="length"),
    ):
        assert read_content(cut) == (None, "düşünüyorum", "length", "generate.no_text")
    ended = read_content(_choice("", reasoning_content="hm"))
    assert ended == ("", "hm", "stop", None)


def test_tool_calls_are_text_without_their_random_ids():
    call = {"id": "call_x1", "index": 0, "type": "function", "function": {"name": "hava"}}
    text, _, finish, error = read_content(
        _choice(None, tool_calls=[call], finish_reason="tool_calls")
    )
    assert json.loads(text) == [{"type": "function", "function": {"name": "hava"}}]
    assert (finish, error) == ("tool_calls", None)
    both = read_content(_choice("Bakayım.", tool_calls=[call]))[0]
    assert both.split("\n")[0] == "Bakayım."
    assert json.loads(both.split("\n")[1]) == json.loads(text)
    assert read_content(_choice("metin", tool_calls=[]))[0] == "metin"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(calls=st.lists(JSON, min_size=1))
def test_any_tool_calls_become_writable_text(calls):
    text = read_content(_choice(None, tool_calls=calls))[0]
    assert len(json.loads(text)) == len(calls)
    text.encode()

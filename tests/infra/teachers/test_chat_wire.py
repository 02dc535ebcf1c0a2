from __future__ import annotations

import json
import math

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig, TokenPrice
from arbitrage.errors import ArbitrageError
from arbitrage.infra.teachers.base import Request, Sample, TeacherError
from arbitrage.infra.teachers.chat_answer import parse_answer
from arbitrage.infra.teachers.chat_choice import split_reasoning
from arbitrage.infra.teachers.chat_errors import refusal
from arbitrage.infra.teachers.chat_wire import chat_body, parse_json, sanitise

TEXTS = [
    "مرحبا",
    "नमस्ते",
    "こんにちは",
    "안녕",
    "привет",
    "สวัสดี",
    "merhaba ğ",
    "chào bạn",
    "你好",
    "hi 👩‍👩‍👧",
]


def _request(samples: int, text: str = "selam") -> Request:
    wanted = tuple(Sample(j, f"c{j}", 40 + j) for j in range(samples))
    return Request("p", "tr", "t", (("system", "kısa"), ("user", text)), wanted)


def _choice(text: object, index: int = 0, **more: object) -> dict[str, object]:
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "finish_reason": "stop"} | more


def _parse(answer: object, samples: int = 1, cost: float | None = None):
    price = None if cost is None else TokenPrice(output=cost)
    return parse_answer(answer, _request(samples), latency_ms=1.0, price=price)


def test_the_body_holds_what_was_asked():
    body = json.loads(chat_body(_request(3), "m", {"temperature": 0.5, "guided": {"a": 1}}))
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "kısa"},
            {"role": "user", "content": "selam"},
        ],
        "seed": 40,
        "n": 3,
        "temperature": 0.5,
        "guided": {"a": 1},
    }
    assert "n" not in json.loads(chat_body(_request(1), "m", {}))
    lone = json.loads(chat_body(_request(1, "a\ud800"), "m", {}))
    assert lone["messages"][1]["content"] == "a\ufffd"


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_all_scripts_pass_unchanged(text):
    (completion,) = _parse({"choices": [_choice(text)]})
    assert completion.text == text


def test_choices_go_to_samples_by_their_index():
    answer = {"choices": [_choice("iki", 1), _choice("bir", 0)]}
    assert [c.text for c in _parse(answer, 2)] == ["bir", "iki"]


def test_tokens_of_several_choices_are_known_only_from_logprobs():
    usage = {"prompt_tokens": 5, "completion_tokens": 6}
    alone = _parse({"choices": [_choice("a")], "usage": usage}, cost=1.0)[0]
    assert (alone.completion_tokens, alone.prompt_tokens) == (6, 5)
    assert alone.cost_usd == pytest.approx(6e-6)
    both = _parse({"choices": [_choice("a"), _choice("b", 1)], "usage": usage}, 2, cost=1.0)
    assert [(c.completion_tokens, c.cost_usd) for c in both] == [(None, 3e-6)] * 2
    logprobs = {"content": [{"logprob": -1.0}, {"logprob": -0.5}]}
    choices = [_choice("a", 0, logprobs=logprobs), _choice("b", 1, logprobs={"content": []})]
    counted = _parse({"choices": choices, "usage": usage}, 2)
    assert [(c.completion_tokens, c.sum_logprob) for c in counted] == [(2, -1.5), (0, 0.0)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, "x", 10**400])
def test_logprobs_that_are_not_numbers_give_null(bad):
    logprobs = {"content": [{"logprob": -1.0}, {"logprob": bad}]}
    (completion,) = _parse({"choices": [_choice("a", logprobs=logprobs)]})
    assert (completion.text, completion.sum_logprob, completion.completion_tokens) == ("a", None, 2)


def test_reasoning_is_kept_apart():
    message = {"content": "Ankara", "reasoning_content": "hm"}
    (field,) = _parse({"choices": [{"index": 0, "message": message}]})
    assert (field.text, field.reasoning) == ("Ankara", "hm")
    (tagged,) = _parse({"choices": [_choice("<think>hm</think>\n\nAnkara")]})
    assert (tagged.text, tagged.reasoning) == ("Ankara", "hm")
    (cut,) = _parse({"choices": [_choice("<think>hm", finish_reason="length")]})
    assert (cut.text, cut.reasoning, cut.error) == (None, "hm", "generate.no_text")
    assert split_reasoning("hm</think>Ankara") == ("hm", "Ankara")
    assert split_reasoning("say <think>x</think>") == (None, "say <think>x</think>")


def test_content_in_parts_is_joined_and_null_is_a_failure():
    parts = [{"type": "text", "text": "An"}, {"type": "text", "text": "kara"}]
    assert _parse({"choices": [_choice(parts)]})[0].text == "Ankara"
    (none,) = _parse({"choices": [_choice(None, finish_reason="content_filter")]})
    assert (none.text, none.error, none.detail) == (
        None,
        "generate.no_text",
        "finish_reason content_filter",
    )


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "index", "usage"]), inner
        )
    ),
    max_leaves=8,
)


@example(answer=-(2**63) - 1, choices=[], samples=1)
@given(answer=ANY_JSON, choices=st.lists(ANY_JSON, max_size=3), samples=st.integers(1, 3))
def test_any_json_gives_each_sample_or_a_reason(answer, choices, samples):
    for candidate in (answer, {"choices": choices}):
        try:
            completions = _parse(candidate, samples)
        except TeacherError as error:
            known = error.reason in {"generate.malformed_response", "generate.empty_choices"}
        else:
            known = [c.sample_index for c in completions] == list(range(samples))
        assert known


@given(st.text())
def test_sanitised_text_is_always_utf8(text):
    assert sanitise(text).encode().decode() == sanitise(text)
    assert sanitise("\udfff" + text).startswith("\ufffd")


def test_json_outside_the_standard_is_read_and_rubbish_is_said():
    assert math.isnan(parse_json(b'{"a": NaN}')["a"])
    assert sanitise(parse_json(b'"\\ud800x"')) == "\ufffdx"
    assert parse_json(b'"\xff"') == "\ufffd"
    for rubbish in (b"", b"<html>", b'{"a":', b"[" * 100_000):
        with pytest.raises(TeacherError, match="malformed_response"):
            parse_json(rubbish)


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 2048 tokens. However, you requested 9000 tokens",
        "The decoder prompt (length 9) is longer than the maximum model length of 4.",
        "the request exceeds the available context size, try increasing it",
        "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 9000",
        "The input token count (9) exceeds the maximum number of tokens allowed (4).",
        '{"error":{"code":"context_length_exceeded"}}',
        "The input (9 tokens) is longer than the model's context length (4 tokens).",
    ],
)
def test_too_long_prompts_are_known_by_what_servers_say(said):
    error = refusal(400, {}, said)
    assert error.reason == "generate.prompt_too_long"
    assert not error.retryable
    assert refusal(429, {}, said).reason == "generate.rate_limited"


@pytest.mark.parametrize(
    ("status", "reason", "transient", "retryable"),
    [
        (400, "generate.http_400", False, False),
        (401, "generate.http_401", False, True),
        (404, "generate.http_404", False, True),
        (408, "generate.http_408", True, True),
        (409, "generate.http_409", True, True),
        (425, "generate.http_425", True, True),
        (429, "generate.rate_limited", True, True),
        (500, "generate.server_error", True, True),
        (501, "generate.server_error", False, True),
        (503, "generate.server_error", True, True),
        (301, "generate.http_301", False, True),
    ],
)
def test_each_status_has_its_reason(status, reason, transient, retryable):
    error = refusal(status, {}, "said " * 1000)
    assert (error.reason, error.transient, error.retryable) == (reason, transient, retryable)
    assert len(error.detail) < 350


@pytest.mark.parametrize("key", ["model", "messages", "n", "seed", "stream"])
def test_extra_body_cannot_break_the_accounting(key):
    config = TeacherConfig(name="t", backend="openai", extra_body={key: 1})
    with pytest.raises(ValueError, match="set by the engine"):
        _ = config.params


def test_errors_of_teachers_are_of_the_products_tree():
    assert issubclass(TeacherError, ArbitrageError)
    assert orjson.loads(chat_body(_request(1), "m", {}))["model"] == "m"

"""What really goes over the wire: bodies as the stand-in server received them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from arbitrage.infra.generation.pool import TeacherPool

TOOLS = [{"type": "function", "function": {"name": "hava", "parameters": {}}}]


def _sent(stand_in, collected, requests, config_for, **behaviour):
    """The bodies the server saw, in its order."""
    with stand_in.StandIn(stand_in.Behaviour(keeps=100, **behaviour)) as server:
        config = config_for(server.base_url)
        with TeacherPool([config]) as pool:
            counts = pool.complete(requests, collected, threading.Event())
        assert counts.failed == 0
        return server.stats.kept


def test_samples_go_in_one_request_with_the_first_ones_seed(
    stand_in, openai_teacher, requests_for, collected
):
    request = requests_for(3, samples=4)
    (body,) = _sent(stand_in, collected, [request], openai_teacher)
    assert (body["n"], body["seed"]) == (4, request.samples[0].seed)
    assert len({c.text for c in collected.by_id.values()}) > 1


def test_samples_with_seeds_of_their_own_are_asked_one_by_one(
    stand_in, openai_teacher, requests_for, collected
):
    request = requests_for(3, samples=4)
    bodies = _sent(
        stand_in, collected, [request], lambda url: openai_teacher(url, seeds="per_sample")
    )
    assert {body["seed"] for body in bodies} == {sample.seed for sample in request.samples}
    assert not any("n" in body for body in bodies)


def test_a_greedy_request_has_temperature_zero_and_no_thinning(
    stand_in, openai_teacher, requests_for, collected
):
    sampling = {"temperature": 0.7, "min_p": 0.2, "max_tokens": 8, "greedy_samples": 1}
    whole = requests_for(6, samples=3)
    drawn = replace(whole, samples=whole.samples[:2])
    greedy = replace(whole, samples=whole.samples[2:], greedy=True)
    bodies = _sent(
        stand_in, collected, [drawn, greedy], lambda url: openai_teacher(url, sampling=sampling)
    )
    of_greedy, of_drawn = sorted(bodies, key=lambda body: body["temperature"])
    assert (of_drawn["temperature"], of_drawn["min_p"], of_drawn["n"]) == (0.7, 0.2, 2)
    assert (of_greedy["temperature"], of_greedy["max_tokens"]) == (0, 8)
    assert not {"min_p", "n", "greedy_samples"} & of_greedy.keys()
    assert "greedy_samples" not in of_drawn


def test_what_is_passed_through_arrives_as_it_was_written(
    stand_in, openai_teacher, requests_for, collected
):
    given = {
        "system": "Antworte auf Thai: ภาษาไทย 🙏",
        "response_format": {"type": "json_object"},
        "tools": TOOLS,
        "tool_choice": "auto",
        "extra_body": {"guided_regex": "[ก-๙]+"},
        "sampling": {"stop": ["</s>", "؟"]},
    }
    (body,) = _sent(
        stand_in, collected, [requests_for(5)], lambda url: openai_teacher(url, **given)
    )
    assert body["messages"][0] == {"role": "system", "content": given["system"]}
    assert body["messages"][1]["role"] == "user"
    assert {key: body[key] for key in ("response_format", "tools", "tool_choice")} == {
        key: given[key] for key in ("response_format", "tools", "tool_choice")
    }
    assert (body["guided_regex"], body["stop"]) == ("[ก-๙]+", ["</s>", "؟"])


def test_a_system_prompt_joins_the_prompts_own_one(
    stand_in, openai_teacher, requests_for, collected
):
    request = replace(requests_for(0), messages=(("system", "كن موجزا"), ("user", "مرحبا")))
    (body,) = _sent(
        stand_in, collected, [request], lambda url: openai_teacher(url, system="Answer in Arabic.")
    )
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"] == "Answer in Arabic.\n\nكن موجزا"


@pytest.mark.parametrize(
    ("provider", "absent", "limit"),
    [("gemini", {"seed", "n"}, "max_tokens"), ("openai", set(), "max_completion_tokens")],
)
def test_a_provider_is_asked_in_its_own_words(  # noqa: PLR0917
    provider, absent, limit, stand_in, openai_teacher, requests_for, collected, monkeypatch
):
    monkeypatch.setenv("SOME_KEY", "k")
    more = {"provider": provider, "api_key_env": "SOME_KEY", "sampling": {"max_tokens": 5}}
    bodies = _sent(
        stand_in,
        collected,
        [requests_for(1, samples=2)],
        lambda url: openai_teacher(url, **more),
    )
    assert len(bodies) == (2 if "n" in absent else 1)
    assert not any(absent & body.keys() for body in bodies)
    assert {body[limit] for body in bodies} == {5}


@pytest.mark.parametrize(
    "more",
    [
        {"system": "x"},
        {"tools": TOOLS},
        {"tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"extra_body": {"a": 1}},
    ],
)
def test_what_changes_the_question_changes_the_teacher(openai_teacher, more):
    plain = openai_teacher("http://x/v1")
    assert openai_teacher("http://x/v1", **more).identity != plain.identity


def test_how_a_question_is_sent_does_not_change_the_teacher(openai_teacher):
    plain = openai_teacher("http://x/v1")
    for more in ({"seeds": "per_sample"}, {"samples_per_request": 2}, {"provider": "openai"}):
        assert openai_teacher("http://y/v1", **more).identity == plain.identity
    # As before there were keys like system and provider: ids of older runs still hold.
    assert plain.params.model_dump(mode="json", exclude=plain.operational) == {"extra_body": {}}


@pytest.mark.parametrize("key", ["temperature", "max_tokens", "tools", "greedy_samples"])
def test_extra_body_cannot_say_again_what_has_a_key(openai_teacher, key):
    with pytest.raises(ValueError, match="cannot be in extra_body"):
        _ = openai_teacher("http://x/v1", extra_body={key: 1}).params

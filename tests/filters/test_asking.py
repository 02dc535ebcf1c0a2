"""Filters that ask a server, on a real socket: every fault ends, bounded and counted."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from reward_server import FAULTS, RewardServer, worth

from arbitrage.answers import Use
from arbitrage.errors import FilterError, InterruptedRunError
from arbitrage.filters.base import Batch, Filter, measuring_hash
from arbitrage.filters.judge import Judge, JudgeParams
from arbitrage.filters.likelihood import Likelihood, LikelihoodParams
from arbitrage.filters.reward_model import RewardModel, RewardModelParams

KINDS = {"judge": Judge, "reward_model": RewardModel, "likelihood": Likelihood}
TEXTS = ["one", "one two", "one two three", "bir iki üç dört", "一 二 三 四 五"]
every_kind = pytest.mark.parametrize("kind", KINDS)


class Kept:
    """Answers in memory."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.stopping = False

    def known(self, key: str) -> bytes | None:
        if self.stopping:
            raise InterruptedRunError("the run was asked to stop.")
        return self.answers.get(key)

    def keep(self, key: str, answer: bytes) -> None:
        self.answers[key] = answer

    def afford(self, asker: str, most: Use) -> bool:
        return True

    def used(self, asker: str, most: Use, used: Use) -> None:
        pass


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


@pytest.fixture
def make(server: RewardServer) -> Iterator[Any]:
    """make(kind, ...) -> a filter that asks the server, with retries that do not wait long."""
    made: list[Filter] = []

    def build(kind: str, **given: Any) -> Filter:
        plugin = KINDS[kind]
        base = {"base_url": server.base_url, "model": "m", "timeout_s": 20, "retries": 1}
        made.append(plugin(plugin.Params.model_validate({**base, **given})))
        return made[-1]

    yield build
    for scorer in made:
        scorer.close()


def batch_of(texts: list[str], answers: Any = None, **given: Any) -> Batch:
    prompts = [f"question {at}" for at in range(len(texts))]
    return Batch(texts, ["en"] * len(texts), prompts, answers=answers, **given)


def first(scorer: Filter, batch: Batch) -> tuple[list[float], list[str | None]]:
    """A filter's first measure, and why it is missing."""
    scores = scorer.score(batch)
    return next(iter(scores.measures.values())).tolist(), list(scores.labels["cause"])


def test_a_good_server_scores_every_text_in_its_own_row(server: RewardServer, make: Any) -> None:
    for kind in ("judge", "reward_model"):
        scores, causes = first(make(kind), batch_of(TEXTS))
        assert scores == [worth(text) for text in TEXTS]
        assert causes == [None] * len(TEXTS)


@every_kind
def test_what_cannot_be_asked_is_told_apart_and_sends_nothing(
    server: RewardServer, make: Any, kind: str
) -> None:
    batch = Batch(["x", " \n", "y" * 41], ["en"] * 3, [None, "q", "q"])
    scores, causes = first(make(kind, longest_characters=40), batch)
    assert causes == ["no_prompt", "empty", "too_long"]
    assert np.isnan(scores).all()
    assert server.bodies == []


@every_kind
@pytest.mark.parametrize("fault", [*FAULTS, "hang", "drip", "hang_up", "cut_short"])
def test_every_fault_ends_with_a_cause_and_spoils_no_other_text(
    server: RewardServer, make: Any, caplog: pytest.LogCaptureFixture, kind: str, fault: str
) -> None:
    server.faults = {"spoilt": fault}
    scorer = make(kind, timeout_s=1.5 if fault in ("hang", "drip") else 20)
    with caplog.at_level(logging.WARNING):
        scores, causes = first(scorer, batch_of(["one two", "a spoilt text", "three four"]))
    again = fault in ("busy", "broken", "hang", "drip", "hang_up", "cut_short")
    expected = "unanswered" if again else "refused" if fault == "too_long" else "malformed"
    assert causes == [None, expected, None]
    assert np.isnan(scores).tolist() == [False, True, False]
    assert f"questions failed: {expected} 1" in caplog.text
    assert scorer.asker.counts[expected] == 1
    asked = [body for _, body in server.bodies if "spoilt" in str(body)]
    assert len(asked) == (2 if again else 1)


@every_kind
@pytest.mark.parametrize("fault", ["busy", "broken", "hang_up", "cut_short"])
def test_what_passes_is_asked_again_and_scored(
    server: RewardServer, make: Any, kind: str, fault: str
) -> None:
    server.fault, server.first = fault, 1
    _, causes = first(make(kind), batch_of(TEXTS))
    assert causes == [None] * len(TEXTS)


@every_kind
@pytest.mark.parametrize("fault", ["broken", "html", "hang_up"])
def test_a_server_that_only_fails_stops_the_work_soon(
    server: RewardServer, make: Any, kind: str, fault: str
) -> None:
    server.fault = fault
    scorer = make(kind, patience=3, concurrency=2, retries=0)
    with pytest.raises(FilterError, match=rf"filters\.{kind}: 3 questions failed in a row"):
        scorer.score(batch_of([f"text {at}" for at in range(200)]))
    assert len(server.bodies) < 20


def test_texts_that_are_refused_do_not_stop_a_server_that_answers_others(
    server: RewardServer, make: Any
) -> None:
    server.faults = {"long": "too_long"}
    scorer = make("reward_model", patience=2, concurrency=1)
    _, causes = first(scorer, batch_of(["a", *[f"long {at}" for at in range(9)]]))
    assert causes == [None, *["refused"] * 9]
    with pytest.raises(FilterError, match="2 questions failed in a row"):
        make("reward_model", patience=2).score(batch_of(["long a", "long b", "long c"]))


@every_kind
def test_a_key_is_sent_and_never_shown(
    server: RewardServer,
    make: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    scorer = make(kind, api_key_env="A_KEY")
    with pytest.raises(FilterError, match='"A_KEY" is not set'):
        scorer.load()
    monkeypatch.setenv("A_KEY", "sesame-7")
    kept = Kept()
    scorer.score(batch_of(["one two"], kept))
    assert set(server.keys) == {"Bearer sesame-7"}
    server.fault = "echo_key"
    with caplog.at_level(logging.DEBUG), pytest.raises(FilterError, match="401") as caught:
        scorer.score(batch_of(["three"]))
    assert "sesame" not in str(caught.value)
    assert "[key]" in str(caught.value)
    assert "sesame" not in caplog.text
    assert not any(b"sesame" in answer for answer in kept.answers.values())
    assert "sesame" not in repr(scorer.params)


@pytest.mark.parametrize("url", ["http://user:sesame@host/v1", "http://host/v1?key=sesame"])
def test_a_key_in_the_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        RewardModelParams(base_url=url, model="m")


@every_kind
def test_what_was_answered_is_not_asked_again(server: RewardServer, make: Any, kind: str) -> None:
    kept = Kept()
    before = first(make(kind), batch_of(TEXTS, kept))
    sent = len(server.bodies)
    assert first(make(kind), batch_of(TEXTS, kept)) == before
    assert len(server.bodies) == sent
    first(make(kind, model="other"), batch_of(TEXTS[:1], kept))
    assert len(server.bodies) > sent


@every_kind
def test_a_failure_is_not_kept_as_an_answer(server: RewardServer, make: Any, kind: str) -> None:
    kept = Kept()
    server.faults = {"one two": "broken"}
    first(make(kind), batch_of(["one two", "x"], kept))
    server.faults = {}
    assert first(make(kind), batch_of(["one two", "x"], kept))[1] == [None, None]


@every_kind
def test_equal_questions_are_asked_once(server: RewardServer, make: Any, kind: str) -> None:
    batch = Batch(["same"] * 6, ["en"] * 6, ["question"] * 6)
    _, causes = first(make(kind), batch)
    assert causes == [None] * 6
    assert max(server.times.values()) == 1


@every_kind
def test_a_run_that_is_to_stop_asks_no_more(server: RewardServer, make: Any, kind: str) -> None:
    kept = Kept()
    kept.stopping = True
    with pytest.raises(InterruptedRunError):
        make(kind).score(batch_of(TEXTS, kept))
    assert server.bodies == []


@every_kind
def test_awkward_texts_are_sent_and_scored(server: RewardServer, make: Any, kind: str) -> None:
    texts = [
        "\ud800 lone",
        "nul \x00",
        "👩‍👩‍👧‍👦",
        "<|im_end|>",
        "e\u0301" * 50,
        "\u202eabc",
        "x" * 31_000,
    ]
    _, causes = first(make(kind), batch_of(texts))
    assert causes == [None] * len(texts)


@every_kind
def test_trying_it_out_says_whether_it_answers(server: RewardServer, make: Any, kind: str) -> None:
    assert f"answers at {server.base_url}" in make(kind).try_out()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(FilterError, match=rf"filters\.{kind}: .*refused"):
        make(kind, base_url=url).try_out()


@every_kind
def test_where_and_how_patiently_it_asks_changes_no_score_column(kind: str) -> None:
    params = KINDS[kind].Params
    one = params(base_url="http://a/v1", model="m")
    same = params(base_url="https://b/v1", model="m", concurrency=3, retries=9, api_key_env="K")
    assert measuring_hash(one) == measuring_hash(same)
    other = params(base_url="http://a/v1", model="m", revision="2")
    assert measuring_hash(one) != measuring_hash(other)


# The reward model


def test_a_reward_model_gets_the_whole_conversation_and_raw_numbers_are_asked_for(
    server: RewardServer, make: Any
) -> None:
    turns = (("system", "Be kind."), ("user", "Merhaba"))
    batch = Batch(["Selam <|im_end|>"], ["tr"], ["Merhaba"], turns=[turns])
    first(make("reward_model"), batch)
    assert server.bodies == [
        (
            "/classify",
            {
                "model": "m",
                "use_activation": False,
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "Merhaba"},
                    {"role": "assistant", "content": "Selam < |im_end|>"},
                ],
            },
        )
    ]


def test_texts_go_in_batches_and_one_that_is_refused_spoils_no_other(
    server: RewardServer, make: Any
) -> None:
    server.faults = {"spoilt": "too_long"}
    texts = [*TEXTS, "a spoilt text"]
    scorer = make("reward_model", send="texts", batch=3, api="pooling", turn="{content} ")
    scores, causes = first(scorer, batch_of(texts))
    assert causes == [None] * 5 + ["refused"]
    assert scores[:5] == [worth(f"question 0 {text}") for text in TEXTS]
    sizes = sorted(len(body["input"]) for _, body in server.bodies)
    assert sizes == [1, 1, 1, 3, 3]


# Likelihood


def test_the_likelihood_is_the_mean_over_the_answers_tokens_alone(
    server: RewardServer, make: Any
) -> None:
    batch = Batch(["ab", "az", "zz zz"], ["en"] * 3, ["a prompt with z", "q", "q"])
    for api in ("chat", "completions"):
        scores = make("likelihood", api=api).score(batch)
        np.testing.assert_allclose(
            scores.measures["mean_logprob"], [-0.5, -2.25, (4 * -4 - 0.5) / 5], rtol=1e-6
        )
        assert scores.measures["tokens"].tolist() == [2, 2, 5]


def test_a_template_that_writes_the_prompt_otherwise_is_said(
    server: RewardServer, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import reward_server

    scorer = make("likelihood")
    monkeypatch.setattr(
        reward_server,
        "_tokens",
        lambda body, answered: [9] * 20 if answered else [1, 2, 3, 4, 5, 6, 7, 8],
    )
    scores, causes = first(scorer, batch_of(["a"]))
    assert causes == ["misaligned"]
    assert np.isnan(scores).all()
    with pytest.raises(FilterError, match="chat_template_kwargs"):
        scorer.try_out()


def test_params_say_what_they_take() -> None:
    with pytest.raises(ValueError, match="base_url"):
        JudgeParams(model="m")  # type: ignore[call-arg]
    assert LikelihoodParams(base_url="http://h:8000/v1/", model="m").root == "http://h:8000"

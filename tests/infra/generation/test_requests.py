from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig
from arbitrage.errors import UnknownNameError
from arbitrage.infra.generation.requests import expected_candidates, plan_requests
from arbitrage.infra.generation.rows import generated_rows, route_facts
from arbitrage.infra.teachers.base import Completion
from arbitrage.schema import GENERATED, PROMPTS, ROUTES, table_of


class _Run:
    def __init__(self, seed: int) -> None:
        self.seed = seed


class _Config:
    """The two parts of a RunConfig that planning reads."""

    def __init__(self, seed: int = 0, temperature: float = 0.5, **sampling: object) -> None:
        self.run = _Run(seed)
        self.teachers = [
            TeacherConfig(
                name=name,
                backend="openai",
                base_url="http://x/v1",
                sampling={"temperature": temperature, **sampling},
            )
            for name in ("a", "b", "c")
        ]


def _tables(drawn: list[list[str]], samples: int):
    texts = ["Türkiye?", "ما هي", "土耳其", "ตุรกี", "🇹🇷"]
    prompts = [
        {
            "prompt_id": f"p{i}",
            "messages": [{"role": "user", "content": texts[i % len(texts)]}],
            "language": "tr",
            "source": "s",
        }
        for i in range(len(drawn))
    ]
    routes = [
        {
            "prompt_id": f"p{i}",
            "language": "tr",
            "router": "uniform@1",
            "teachers": ["a", "b", "c"],
            "probabilities": [0.5, 0.25, 0.25],
            "drawn": names,
            "propensities": [0.5 if name == "a" else 0.25 for name in names],
            "samples": samples,
        }
        for i, names in enumerate(drawn)
    ]
    return table_of(prompts, PROMPTS), table_of(routes, ROUTES)


DRAWN = st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True), max_size=5)


@settings(max_examples=30, deadline=None)
@given(drawn=DRAWN, samples=st.integers(1, 4), data=st.data())
def test_done_and_open_are_what_is_expected_and_never_twice(drawn, samples, data):
    prompts, routes = _tables(drawn, samples)
    expected = [e.candidate_id for e in expected_candidates(prompts, routes, _Config())]
    assert len(set(expected)) == len(expected) == samples * sum(map(len, drawn))
    done = set(data.draw(st.lists(st.sampled_from(expected)))) if expected else set()
    requests = plan_requests(prompts, routes, _Config(), done)
    asked = [sample.candidate_id for request in requests for sample in request.samples]
    assert sorted([*asked, *done]) == sorted(expected)
    pairs = [(request.prompt_id, request.teacher) for request in requests]
    assert len(set(pairs)) == len(pairs)
    assert all(request.samples for request in requests)


def test_ids_change_with_what_is_asked_and_with_nothing_else():
    prompts, routes = _tables([["a", "b"]], 2)
    ids = [e.candidate_id for e in expected_candidates(prompts, routes, _Config())]
    assert ids == [e.candidate_id for e in expected_candidates(prompts, routes, _Config())]
    for other in (_Config(seed=1), _Config(temperature=0.6)):
        changed = [e.candidate_id for e in expected_candidates(prompts, routes, other)]
        assert not set(ids) & set(changed)


def test_a_route_to_a_teacher_that_is_gone_is_said():
    prompts, routes = _tables([["z"]], 1)
    with pytest.raises(UnknownNameError, match='"z"'):
        plan_requests(prompts, routes, _Config(), set())


def test_rows_fit_the_declared_schema_and_carry_the_route():
    prompts, routes = _tables([["b", "a"]], 2)
    config = _Config()
    request = plan_requests(prompts, routes, config, set())[0]
    completions = [
        Completion(1, error="generate.timeout", detail="slow", retryable=True),
        Completion(0, text="Ankara", sum_logprob=float("nan"), completion_tokens=3),
    ]
    now = datetime(2026, 11, 21, tzinfo=UTC)
    facts = route_facts(routes, config)
    rows = generated_rows(request, completions, facts, created_at=now)
    assert rows[0]["detail"] == "slow"
    assert rows[0]["retryable"]
    table = table_of(rows, GENERATED)
    good = table.to_pylist()[1]
    assert good["candidate_id"] == request.samples[0].candidate_id
    assert (good["teacher"], good["route_probability"], good["router"]) == ("b", 0.25, "uniform@1")
    assert good["params_hash"] == config.teachers[1].params_hash
    assert good["sum_logprob"] is None
    assert good["created_at"] == now
    assert table.column("error").to_pylist() == ["generate.timeout", None]


def test_ids_are_those_of_earlier_versions():
    prompts, routes = _tables([["a", "b"]], 2)
    ids = [e.candidate_id for e in expected_candidates(prompts, routes, _Config())]
    assert ids == [
        "44f0871edc101629478281c8d0c7e4ec",
        "5b56466bb1532f4d9f0e0b4b5455e2f7",
        "52523f895024939994ee38f069d87cc0",
        "a764ca17f3cef2bd87f125eb3f3caf6f",
    ]


def test_greedy_samples_are_the_last_ones_in_a_request_of_their_own():
    prompts, routes = _tables([["a"], ["b"]], 4)
    config = _Config(min_p=0.2, greedy_samples=1)
    requests = plan_requests(prompts, routes, config, set())
    shape = [(r.teacher, r.greedy, [s.index for s in r.samples]) for r in requests]
    assert sorted(shape) == [
        ("a", False, [0, 1, 2]),
        ("a", True, [3]),
        ("b", False, [0, 1, 2]),
        ("b", True, [3]),
    ]
    assert [r.prompt_id for r in requests[:2]] == [requests[0].prompt_id] * 2
    hashes = {
        row["params_hash"]
        for request in requests[:2]
        for row in generated_rows(
            request,
            [Completion(s.index, text="x") for s in request.samples],
            route_facts(routes, config),
        )
    }
    assert len(hashes) == 2


def test_greedy_samples_change_the_id_of_no_other_sample():
    prompts, routes = _tables([["a"]], 3)
    before = [e.candidate_id for e in expected_candidates(prompts, routes, _Config())]
    hedged = _Config(greedy_samples=1)
    after = [e.candidate_id for e in expected_candidates(prompts, routes, hedged)]
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    assert hedged.teachers[0].params_hash != _Config().teachers[0].params_hash


TURNS = st.lists(st.sampled_from(["ไทย", "kısa", "短い", "كن"]), min_size=1, max_size=3)


@given(conversations=st.lists(TURNS, min_size=1, max_size=12), data=st.data())
def test_equal_beginnings_are_neighbours_whatever_the_order_of_the_prompts(conversations, data):
    rows = [
        {
            "prompt_id": f"p{i}",
            "messages": [{"role": "user", "content": text} for text in turns],
            "language": "tr",
            "source": "s",
        }
        for i, turns in enumerate(conversations)
    ]
    _, routes = _tables([["a"]] * len(rows), 2)
    order = [r.prompt_id for r in plan_requests(table_of(rows, PROMPTS), routes, _Config(), set())]
    mixed = table_of(data.draw(st.permutations(rows)), PROMPTS)
    assert order == [r.prompt_id for r in plan_requests(mixed, routes, _Config(), set())]
    asked = [conversations[int(name[1:])] for name in order]
    for length in (1, 2, 3):
        beginnings = [tuple(turns[:length]) for turns in asked]
        runs = [b for i, b in enumerate(beginnings) if i == 0 or b != beginnings[i - 1]]
        assert len(runs) == len(set(runs))

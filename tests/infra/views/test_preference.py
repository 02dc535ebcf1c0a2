from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.errors import ConfigError

REWARDS = st.one_of(st.sampled_from([0.0, 1.0, 2.5, float("nan")]), st.floats(-1e6, 1e6))
CANDIDATE = st.tuples(
    st.integers(0, 4),
    st.sampled_from(["أ", "あ", "a", "", None]),
    st.booleans(),
    st.booleans(),
    REWARDS,
)


def test_the_best_candidate_is_preferred_to_the_worst(ten_languages, make_view, build):
    prompts, candidates, rewards = ten_languages
    rows = make_view("preference").rows(prompts, candidates, rewards).to_pylist()
    assert [row["language"] for row in rows] == list(build.texts)
    for row in rows:
        text = build.texts[row["language"]]
        assert row["prompt"] == [{"role": "user", "content": text}]
        assert row["chosen"] == [{"role": "assistant", "content": f"{text} good"}]
        assert row["rejected"] == [{"role": "assistant", "content": f"{text} poor"}]
        assert (row["chosen_teacher"], row["rejected_teacher"]) == ("a", "b")
        assert (row["chosen_reward"], row["rejected_reward"], row["margin"]) == (2.0, 1.0, 1.0)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=st.lists(CANDIDATE, max_size=14),
    min_margin=st.sampled_from([0.0, 0.5, 2.0]),
    include_filtered=st.booleans(),
)
def test_every_pair_is_of_one_prompt_and_by_the_rules(
    build, make_view, drawn, min_margin, include_filtered
):
    prompts = build.prompts([build.prompt(f"p{i}") for i in range(5)])
    rows = [
        build.candidate(
            f"c{i}", f"p{p}", text=text, kept=kept, error="generate.timeout" if failed else None
        )
        for i, (p, text, kept, failed, _) in enumerate(drawn)
    ]
    rewards = np.array([reward for *_, reward in drawn], dtype=np.float64)
    view = make_view("preference", min_margin=min_margin, include_filtered=include_filtered)
    table = view.rows(prompts, build.candidates(rows), rewards)
    table.validate(full=True)
    by_id = {row["candidate_id"]: (row, reward) for row, reward in zip(rows, rewards, strict=True)}
    pairs = table.to_pylist()
    assert len({pair["prompt_id"] for pair in pairs}) == len(pairs)
    for pair in pairs:
        (chosen, best), (rejected, worst) = by_id[pair["chosen_id"]], by_id[pair["rejected_id"]]
        assert chosen["prompt_id"] == rejected["prompt_id"] == pair["prompt_id"]
        assert chosen["text"] != rejected["text"]
        assert None not in (chosen["text"], rejected["text"])
        assert chosen["error"] is None
        assert rejected["error"] is None
        assert chosen["kept"]
        assert rejected["kept"] or include_filtered
        assert best == pair["chosen_reward"] > pair["rejected_reward"] == worst
        assert pair["margin"] == best - worst >= min_margin
        usable = [
            reward
            for row, reward in by_id.values()
            if row["prompt_id"] == pair["prompt_id"]
            and row["kept"]
            and row["text"] is not None
            and row["error"] is None
            and np.isfinite(reward)
        ]
        assert best == max(usable)


@pytest.mark.parametrize(
    ("texts", "rewards"),
    [
        (["a", "b"], [1.0, 1.0]),
        (["a", "a"], [2.0, 1.0]),
        (["a", "b"], [np.nan, 1.0]),
        (["a", "b"], [np.nan, np.nan]),
        (["a"], [1.0]),
        ([], []),
    ],
)
def test_ties_same_texts_missing_rewards_and_single_candidates_make_no_pair(
    build, make_view, texts, rewards
):
    rows = [build.candidate(f"c{i}", "p", text=text) for i, text in enumerate(texts)]
    view = make_view("preference")
    table = view.rows(build.prompts([build.prompt("p")]), build.candidates(rows), np.array(rewards))
    assert table.num_rows == 0
    assert table.schema == view.schema


def test_a_filtered_candidate_is_rejected_against_only_where_asked(build, make_view):
    rows = [
        build.candidate("good", "p"),
        build.candidate("fair", "p"),
        build.candidate("toxic", "p", kept=False, chosen=False, reasons=["toxicity.max_toxicity"]),
    ]
    shard = build.prompts([build.prompt("p")]), build.candidates(rows), np.array([3.0, 2.0, 1.0])
    without = make_view("preference").rows(*shard)
    including = make_view("preference", include_filtered=True).rows(*shard)
    assert without["rejected_id"].to_pylist() == ["fair"]
    assert including["rejected_id"].to_pylist() == ["toxic"]


def test_a_missing_reward_and_a_negative_margin_are_said(ten_languages, make_view):
    prompts, candidates, _ = ten_languages
    with pytest.raises(ConfigError, match=r"select\.objective"):
        make_view("preference").rows(prompts, candidates, None)
    with pytest.raises(ValidationError):
        make_view("preference", min_margin=-1)

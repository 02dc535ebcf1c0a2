from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.errors import ConfigError, UnknownNameError
from arbitrage.infra.views.preference import PreferenceParams

QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
POLICIES = ["best_worst", "best_random", "same_teacher", "near_tie"]
CANDIDATE = st.tuples(
    st.integers(0, 5),
    st.sampled_from("abc"),
    st.sampled_from(["x", "xx ", " xx", "xxxx", "xxxxxxxxx", "", None]),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 1.5, 4.0, float("nan")]),
)
LANGUAGES = ["tr", "th", "tr", "ar", "ar", "tr"]


def shard(build, drawn):
    """A shard of six prompts; drawn: (prompt, teacher, text, kept, reward)."""
    prompts = build.prompts([build.prompt(f"p{i}", tag) for i, tag in enumerate(LANGUAGES)])
    rows = [
        build.candidate(
            f"c{i}", f"p{p}", language=LANGUAGES[p], teacher=teacher, text=text, kept=kept
        )
        for i, (p, teacher, text, kept, _) in enumerate(drawn)
    ]
    return prompts, build.candidates(rows), np.array([row[-1] for row in drawn], dtype=np.float64)


def settled(view, *shards):
    return view.settled(view.survey(candidates, rewards) for _, candidates, rewards in shards)


@QUIET
@given(
    drawn=st.lists(CANDIDATE, max_size=24),
    params=st.fixed_dictionaries(
        {
            "policy": st.lists(st.sampled_from(POLICIES), min_size=1, max_size=3),
            "max_length_ratio": st.sampled_from([None, 1.0, 2.0]),
            "pairs_per_prompt": st.integers(1, 3),
            "max_margin": st.sampled_from([None, 1.5]),
        }
    ),
)
def test_every_pair_of_every_policy_keeps_the_rules(build, make_view, drawn, params):
    view = make_view("preference", **params)
    ratio, max_margin = params["max_length_ratio"], params["max_margin"]
    table = view.rows(*shard(build, drawn))
    table.validate(full=True)
    by_id = {f"c{i}": row for i, row in enumerate(drawn)}
    made = Counter()
    seen = set()
    for pair in table.to_pylist():
        chosen, rejected = by_id[pair["chosen_id"]], by_id[pair["rejected_id"]]
        assert chosen[0] == rejected[0]
        assert pair["chosen_reward"] > pair["rejected_reward"]
        assert pair["chosen_rank"] < pair["rejected_rank"] <= pair["ranked"]
        assert chosen[3]
        assert rejected[3]
        assert chosen[2].split() != rejected[2].split()
        if max_margin is not None:
            assert pair["margin"] <= max_margin
        if ratio is not None:
            lengths = sorted([len(chosen[2]), len(rejected[2])])
            assert 0 < lengths[1] <= ratio * lengths[0]
        if pair["policy"] == "same_teacher":
            assert chosen[1] == rejected[1]
        made[pair["prompt_id"], pair["policy"]] += 1
        assert (pair["chosen_id"], pair["rejected_id"]) not in seen
        seen.add((pair["chosen_id"], pair["rejected_id"]))
    assert all(count <= params["pairs_per_prompt"] for count in made.values())


FOUR = [
    (0, "a", "one", True, 4.0),
    (0, "a", "two", True, 3.0),
    (0, "b", "three", True, 2.5),
    (0, "b", "four", True, 0.0),
]


@pytest.mark.parametrize(
    ("policy", "ids"),
    [
        ("best_worst", ["c0", "c3"]),
        ("same_teacher", ["c0", "c1"]),
        ("near_tie", ["c1", "c2"]),
    ],
)
def test_each_policy_takes_its_own_pair(build, make_view, policy, ids):
    rows = make_view("preference", policy=policy).rows(*shard(build, FOUR)).to_pylist()
    assert [[row["chosen_id"], row["rejected_id"]] for row in rows] == [ids]
    assert rows[0]["policy"] == policy


def test_a_random_other_depends_on_the_seed_and_on_nothing_else(build, make_view):
    drawn = [(p, "a", f"{p} {i}", True, float(-i)) for p in range(6) for i in range(8)]
    prompts, candidates, rewards = shard(build, drawn)

    def rejected(seed, rows):
        view = make_view("preference", policy="best_random", seed=seed)
        taken = candidates.take(pa.array(rows))
        pairs = view.rows(prompts, taken, rewards[rows]).to_pylist()
        assert {pair["chosen_rank"] for pair in pairs} == {1}
        return {pair["prompt_id"]: pair["rejected_id"] for pair in pairs}

    forward, backward = np.arange(48), np.arange(48)[::-1]
    assert rejected(1, forward) == rejected(1, backward)
    assert len({tuple(rejected(seed, forward).values()) for seed in range(5)}) > 1


def test_near_tie_still_needs_the_least_margin(build, make_view):
    view = make_view("preference", policy="near_tie", min_margin=0.8)
    assert view.rows(*shard(build, FOUR))["margin"].to_pylist() == [1.0]


def test_a_limit_on_lengths_takes_the_next_widest_pair(build, make_view):
    view = make_view("preference", max_length_ratio=1.3)
    row = view.rows(*shard(build, FOUR)).to_pylist()[0]
    assert (row["chosen_id"], row["rejected_id"], row["margin"]) == ("c2", "c3", 2.5)
    assert (row["chosen_characters"], row["rejected_characters"]) == (5, 4)


def test_an_answer_in_its_language_is_chosen_against_a_confused_or_translated_one(build, make_view):
    confused = [(0, "a", "merhaba", True, 3.0), (0, "b", "hello", False, 1.0)]
    prompts, candidates, rewards = shard(build, [*confused, (0, "c", "selam", True, 2.0)])
    match = pa.array([1.0, 0.0, None], pa.float32())
    candidates = candidates.append_column("language_id.match", match)
    view = make_view("preference", policy="in_language", pairs_per_prompt=5)
    pairs = view.rows(prompts, candidates, rewards).to_pylist()
    assert [(row["chosen_id"], row["rejected_id"]) for row in pairs] == [("c0", "c1")]
    view = make_view(
        "preference", policy="in_language", pairs_per_prompt=5, translated=("c", "absent")
    )
    pairs = view.rows(prompts, candidates, rewards).to_pylist()
    assert [row["rejected_id"] for row in pairs] == ["c1", "c2"]


def test_in_language_without_a_measure_of_language_is_refused():
    params = PreferenceParams(policy="in_language")
    with pytest.raises(ConfigError, match="nothing to tell a language by"):
        params.check_measures(["length.words"])
    params.check_measures(["language_id.match"])
    PreferenceParams(policy="in_language", translated=("google",)).check_measures([])
    with pytest.raises(UnknownNameError, match=r"language_id\.match"):
        PreferenceParams(policy="in_language", right={"language_id.mach": 1}).check_measures(
            ["language_id.match"]
        )


def test_params_that_contradict_each_other_are_refused():
    for params in ({"policy": ()}, {"min_margin": 2, "max_margin": 1}, {"max_length_ratio": 0.5}):
        with pytest.raises(ValidationError):
            PreferenceParams(**params)


@QUIET
@given(
    drawn=st.lists(CANDIDATE, max_size=40),
    caps=st.fixed_dictionaries(
        {
            "max_teacher_share": st.sampled_from([None, 0.34, 0.5, 0.8, 1.0]),
            "max_per_language": st.sampled_from([None, 1, 3]),
            "dedup": st.booleans(),
        }
    ),
    cut=st.integers(0, 6),
)
def test_caps_hold_over_all_shards_in_any_order(build, make_view, drawn, caps, cut):
    share, most, dedup = (caps[name] for name in ("max_teacher_share", "max_per_language", "dedup"))
    named = [(*row, f"c{i}") for i, row in enumerate(drawn)]
    halves = [[row for row in named if row[0] < cut], [row for row in named if row[0] >= cut]]

    def pairs_of(parts):
        view = make_view("preference", pairs_per_prompt=3, **caps)
        shards = []
        for part in parts:
            prompts, candidates, rewards = shard(build, [row[:-1] for row in part])
            ids = pa.array([row[-1] for row in part], pa.string())
            shards.append((prompts, candidates.set_column(0, "candidate_id", ids), rewards))
        ready = settled(view, *shards)
        found = [row for one in shards for row in ready.rows(*one).to_pylist()]
        if view.params.capped:
            gone = sum(sum(of.values()) for of in ready.facts()["dropped"].values())
            assert ready.facts()["pairs_before_caps"] - gone == len(found)
        return found

    pairs = pairs_of([named])
    by_language = Counter(row["language"] for row in pairs)
    for (language, _), count in Counter(
        (row["language"], row["chosen_teacher"]) for row in pairs
    ).items():
        assert share is None or count <= share * by_language[language] + 1e-9
    if most is not None:
        assert all(count <= most for count in by_language.values())
    if dedup:
        texts = [(str(p["chosen"]).split(), str(p["rejected"]).split()) for p in pairs]
        assert len({str(both) for both in texts}) == len(texts)
    wanted = {(row["chosen_id"], row["rejected_id"]) for row in pairs}
    for parts in (halves, halves[::-1]):
        assert {(row["chosen_id"], row["rejected_id"]) for row in pairs_of(parts)} == wanted


def test_a_teacher_that_always_wins_keeps_only_its_share(build, make_view):
    drawn = [
        row
        for p in (0, 2, 5)
        for row in ((p, "a", f"good {p}", True, 2.0), (p, "b", f"poor {p}", True, 1.0))
    ] + [(0, "b", "great", True, 5.0)]
    one = shard(build, drawn)
    without = make_view("preference").rows(*one)["chosen_teacher"].to_pylist()
    assert Counter(without) == {"a": 2, "b": 1}
    view = settled(make_view("preference", max_teacher_share=0.5), one)
    assert Counter(view.rows(*one)["chosen_teacher"].to_pylist()) == {"a": 1, "b": 1}
    assert view.facts() == {"pairs_before_caps": 3, "dropped": {"max_teacher_share": {"tr": 1}}}


def test_a_prompt_that_a_limit_left_out_makes_no_pair(build, make_view):
    """What [select] chose of p0 is gone by its limit; of p1 it chose the second best answer."""
    drawn = [(p, "a", f"{p} {i}", True, float(-i)) for p in (0, 1) for i in range(3)]
    prompts, candidates, rewards = shard(build, drawn)
    chosen = pa.array([False] * 4 + [True, False])
    candidates = candidates.set_column(candidates.column_names.index("chosen"), "chosen", chosen)
    for policy in POLICIES:
        view = make_view("preference", policy=policy, pairs_per_prompt=9)
        assert set(view.rows(prompts, candidates, rewards)["prompt_id"].to_pylist()) == {"p1"}
    view = make_view("preference", chosen_side="chosen", pairs_per_prompt=9)
    (pair,) = view.rows(prompts, candidates, rewards).to_pylist()
    assert (pair["chosen_id"], pair["rejected_id"], pair["chosen_rank"]) == ("c4", "c5", 2)
    random = make_view("preference", chosen_side="chosen", policy="best_random")
    assert random.rows(prompts, candidates, rewards)["chosen_id"].to_pylist() == ["c4"]


def test_pairs_by_language_say_whether_the_rejected_side_is_confused_or_translated(
    build, make_view
):
    drawn = [
        (0, "a", "merhaba", True, 3.0),
        (0, "b", "hello", False, 1.0),
        (0, "c", "selam", True, 2.0),
    ]
    prompts, candidates, rewards = shard(build, drawn)
    match = pa.array([1.0, 0.0, 1.0], pa.float32())
    candidates = candidates.append_column("language_id.match", match)
    view = make_view(
        "preference",
        policy=["in_language", "best_worst"],
        pairs_per_prompt=5,
        include_filtered=True,
        translated=("c",),
    )
    pairs = view.rows(prompts, candidates, rewards).to_pylist()
    assert {
        (row["policy"], row["rejected_id"], row["chosen_id"], row["rejected_as"]) for row in pairs
    } == {
        ("in_language", "c1", "c0", "confused"),
        ("in_language", "c2", "c0", "translated"),
        ("best_worst", "c1", "c2", None),
    }


def test_another_sample_of_the_same_teacher_is_never_anothers(build, make_view):
    drawn = [(0, "a", "one", True, 9.0), (0, "b", "two", True, 5.0), (0, "b", "three", True, 4.0)]
    rows = make_view("preference", policy="same_teacher").rows(*shard(build, drawn)).to_pylist()
    assert [(row["chosen_id"], row["rejected_id"]) for row in rows] == [("c1", "c2")]
    assert (
        make_view("preference", policy="same_teacher").rows(*shard(build, drawn[:2])).num_rows == 0
    )


@QUIET
@given(drawn=st.lists(CANDIDATE, max_size=24), rounds=st.sampled_from(["newer", "any"]))
def test_across_rounds_no_pair_is_of_the_parent_alone(build, make_view, drawn, rounds):
    prompts, candidates, rewards = shard(build, drawn)
    older = np.arange(len(drawn)) % 3 == 0
    runs = np.where(older, "first", "second").astype(object)
    candidates = candidates.append_column("of_parent", pa.array(older, pa.bool_()))
    candidates = candidates.append_column("run_id", pa.array(runs, pa.string()))
    view = make_view("preference", rounds=rounds, pairs_per_prompt=3)
    table = view.rows(prompts, candidates, rewards)
    table.validate(full=True)
    of = dict(zip([f"c{i}" for i in range(len(drawn))], older.tolist(), strict=True))
    for row in table.to_pylist():
        sides = of[row["chosen_id"]], of[row["rejected_id"]]
        assert sides != (True, True)
        assert sides == (False, True) or rounds == "any"
        names = {(False, True): "newer_chosen", (True, False): "older_chosen"}
        assert row["rounds"] == names.get(sides, "same")
        assert (row["chosen_run"] == "first", row["rejected_run"] == "first") == sides

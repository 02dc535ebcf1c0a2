from __future__ import annotations

import datasets
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.errors import ConfigError
from arbitrage.infra.views.kto import KtoParams
from arbitrage.infra.views.saved import save_view
from arbitrage.infra.views.spread import Spread

QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
REWARDS = st.one_of(st.sampled_from([0.0, 1.0, float("nan")]), st.floats(-1e6, 1e6))
GROUPED = ["rloo", "offpolicy", "kto"]


def shard(build, drawn):
    """drawn: (prompt, text, kept, reward)."""
    prompts = build.prompts([build.prompt(f"p{i}") for i in range(5)])
    rows = [
        build.candidate(
            f"c{i}",
            f"p{p}",
            text=text,
            kept=kept,
            sum_logprob=-4.0,
            completion_tokens=8 if i % 2 else 0,
        )
        for i, (p, text, kept, _) in enumerate(drawn)
    ]
    return prompts, build.candidates(rows), np.array([row[-1] for row in drawn], dtype=np.float64)


def made(view, one):
    ready = view.settled([view.survey(*one[1:])]) if view.surveys else view
    table = ready.rows(*one)
    table.validate(full=True)
    assert table.schema == view.schema
    return table


@QUIET
@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["a", "", None]), st.booleans(), REWARDS),
        max_size=20,
    ),
    members=st.sampled_from(["kept", "answered"]),
)
def test_advantages_of_a_group_sum_to_zero_and_nobody_is_in_it_twice(
    build, make_view, drawn, members
):
    rows = made(make_view("rloo", members=members), shard(build, drawn)).to_pylist()
    seen = set()
    for row in rows:
        k, rewards = row["k"], np.array(row["rewards"])
        assert k >= 2
        assert {len(row[name]) for name in row if isinstance(row[name], list)} - {k} <= {1}
        assert len(set(row["candidate_ids"])) == k
        assert not seen & set(row["candidate_ids"])
        seen |= set(row["candidate_ids"])
        others = [(rewards.sum() - own) / (k - 1) for own in rewards]
        scale = max(1.0, np.abs(rewards).max())
        assert row["advantages"] == pytest.approx(rewards - others, abs=1e-9 * scale)
        assert abs(sum(row["advantages"])) <= 1e-9 * scale * k
    usable = {
        (p, i)
        for i, (p, text, kept, reward) in enumerate(drawn)
        if text is not None and (kept or members == "answered") and np.isfinite(reward)
    }
    sizes = {p: sum(1 for q, _ in usable if q == p) for p, _ in usable}
    assert seen == {f"c{i}" for p, i in usable if sizes[p] >= 2}


def test_all_tied_groups_have_no_advantage_and_can_be_left_out(build, make_view):
    tied = shard(build, [(0, "a", True, 0.1)] * 3 + [(1, "a", True, 0.1), (1, "b", True, 0.3)])
    rows = made(make_view("rloo"), tied).to_pylist()
    assert rows[0]["advantages"] == [0.0, 0.0, 0.0]
    assert made(make_view("rloo", drop_tied=True), tied)["prompt_id"].to_pylist() == ["p1"]


@pytest.mark.parametrize("name", [*GROUPED, "preference"])
def test_shards_without_rewards_texts_or_candidates_give_the_schema(build, make_view, name):
    nothing = [
        [],
        [(0, None, True, 1.0)] * 2,
        [(0, "a", True, float("nan")), (0, "b", True, float("nan"))],
    ]
    for drawn in nothing:
        assert made(make_view(name), shard(build, drawn)).num_rows == 0
    with pytest.raises(ConfigError, match=r"select\.objective"):
        make_view(name).rows(*shard(build, [])[:2], None)


def test_single_candidates_make_off_policy_rows_without_an_advantage(build, make_view):
    one = shard(build, [(0, "a", True, 1.0), (1, "b", False, 2.0)])
    rows = made(make_view("offpolicy"), one).to_pylist()
    assert [(row["advantage"], row["group_size"], row["kept"]) for row in rows] == [
        (None, 1, True),
        (None, 1, False),
    ]
    assert [row["mean_logprob"] for row in rows] == [None, -0.5]
    assert made(make_view("rloo"), one).num_rows == 0
    assert made(make_view("offpolicy", form="pairs"), one).num_rows == 0


@pytest.mark.parametrize("both", [False, True])
def test_off_policy_pairs_come_in_one_order_or_in_both(build, make_view, both):
    one = shard(build, [(0, t, True, r) for t, r in (("a", 3.0), ("b", 1.0), ("c", 1.0))])
    view = make_view("offpolicy", form="pairs", both_orders=both)
    rows = made(view, one).to_pylist()
    pairs = [(row["candidate_id_1"], row["candidate_id_2"]) for row in rows]
    assert len(set(pairs)) == len(pairs) == (6 if both else 3)
    assert len({frozenset(pair) for pair in pairs}) == 3
    assert [row["swapped"] for row in rows] == [False, True] * 3 if both else [False] * 3
    for row in rows:
        assert row["reward_difference"] == row["reward_1"] - row["reward_2"]
        assert row["completion_1"] != row["completion_2"]
    fewer = make_view("offpolicy", form="pairs", both_orders=both, pairs_per_prompt=1)
    assert made(fewer, one).num_rows == (2 if both else 1)


def test_neither_side_of_an_off_policy_pair_is_always_the_earlier_candidate(build, make_view):
    one = shard(build, [(p, f"{k}", True, float(k)) for p in range(5) for k in range(4)])
    rows = made(make_view("offpolicy", form="pairs"), one).to_pylist()
    assert {row["reward_difference"] > 0 for row in rows} == {True, False}


def test_off_policy_params_of_pairs_are_refused_for_answers(make_view):
    with pytest.raises(ValidationError, match='form = "pairs"'):
        make_view("offpolicy", both_orders=True)


def test_kto_labels_the_better_half_of_a_language(build, make_view):
    one = shard(build, [(i, "a", True, r) for i, r in enumerate([5.0, 1.0, 3.0, 2.0, 4.0])])
    rows = made(make_view("kto"), one).to_pylist()
    assert {row["candidate_id"]: row["label"] for row in rows} == {
        "c0": True, "c1": False, "c3": False, "c4": True,
    }  # fmt: skip
    assert rows[0]["completion"] == [{"role": "assistant", "content": "a"}]
    assert rows[0]["reward_rank"] == 0.9


@pytest.mark.parametrize(("ones", "labels"), [(1, [1, 0, 0, 0, 0]), (4, [1, 1, 1, 1, 0])])
def test_kto_parts_two_reward_values_wherever_most_of_them_lie(build, make_view, ones, labels):
    rewards = [1.0] * ones + [0.0] * (5 - ones)
    one = shard(build, [(i, "a", True, r) for i, r in enumerate(rewards)])
    assert made(make_view("kto"), one)["label"].to_pylist() == [bool(x) for x in labels]


def test_kto_has_no_label_where_all_tie(build, make_view):
    assert (
        made(make_view("kto"), shard(build, [(i, "a", True, 1.0) for i in range(5)])).num_rows == 0
    )


def test_kto_by_threshold_leaves_the_middle_out_and_may_take_what_filters_rejected(
    build, make_view
):
    drawn = [(0, "a", True, 3.0), (1, "b", True, 1.5), (2, "c", True, 0.0), (3, "d", False, 9.0)]
    params = {"label_by": "threshold", "threshold": 2.0, "undesirable_threshold": 1.0}
    rows = made(make_view("kto", **params), shard(build, drawn)).to_pylist()
    assert [(row["candidate_id"], row["label"]) for row in rows] == [("c0", True), ("c2", False)]
    rows = made(make_view("kto", **params, include_filtered=True), shard(build, drawn)).to_pylist()
    assert [row["label"] for row in rows] == [True, False, False]


def test_kto_by_pairs_labels_both_sides_and_drops_who_is_on_both(build, make_view):
    one = shard(build, [(0, t, True, r) for t, r in (("a", 3.0), ("b", 2.0), ("c", 1.0))])
    view = make_view("kto", label_by="pairs", pairs={"policy": "near_tie", "pairs_per_prompt": 2})
    rows = made(view, one).to_pylist()
    assert [(row["candidate_id"], row["label"]) for row in rows] == [("c0", True), ("c2", False)]
    capped = make_view("kto", label_by="pairs", pairs={"max_teacher_share": 0.5})
    assert made(capped, one).num_rows == 0


@pytest.mark.parametrize(
    "params",
    [
        {"label_by": "threshold"},
        {"desirable_above": 0.3, "undesirable_below": 0.5},
        {"label_by": "threshold", "threshold": 1.0, "undesirable_threshold": 2.0},
    ],
)
def test_kto_labels_that_would_overlap_are_refused(params):
    with pytest.raises(ValidationError):
        KtoParams(**params)


@pytest.mark.parametrize("name", ["sft", "preference", *GROUPED])
def test_markers_say_quality_length_and_source(build, make_view, name):
    texts = ["x" * (i + 1) for i in range(8)]
    one = shard(build, [(i % 2, text, True, float(i)) for i, text in enumerate(texts)])
    markers = ["quality_quartile", "length_bucket", "source"]
    table = made(make_view(name, markers=markers), one)
    assert set(markers) <= set(table.column_names)
    row = table.to_pylist()[-1]
    flat = {m: row[m][-1] if isinstance(row[m], list) else row[m] for m in markers}
    assert flat == {"quality_quartile": 4, "length_bucket": "long", "source": "s"}
    if name == "offpolicy":
        assert table["quality_quartile"].to_pylist() == [1, 1, 2, 2, 3, 3, 4, 4]
        buckets = table["length_bucket"].to_pylist()
        assert buckets == ["short"] * 3 + ["medium"] * 2 + ["long"] * 3


@pytest.mark.parametrize("name", ["sft", "preference", *GROUPED])
def test_every_view_loads_with_datasets_and_streams(tmp_path, build, make_view, name):
    one = shard(build, [(i % 3, f"t{i}", True, float(i)) for i in range(12)])
    view = make_view(name)
    table = made(view, one)
    save_view([table, table], view.schema, tmp_path / name)
    loaded = datasets.load_from_disk(str(tmp_path / name))
    assert loaded.to_list() == table.to_pylist() * 2
    streamed = datasets.load_dataset(
        "arrow",
        data_files=str(tmp_path / name / "*.arrow"),
        split="train",
        streaming=True,
        cache_dir=str(tmp_path / "cache"),
    )
    assert next(iter(streamed)) == table.to_pylist()[0]


@QUIET
@given(
    parts=st.lists(
        st.lists(st.tuples(st.sampled_from(["tr", "th"]), st.sampled_from([-2.0, 0.0, 1.0, 7.5]))),
        max_size=4,
    )
)
def test_ranks_within_a_language_do_not_depend_on_how_shards_are_cut(parts):
    def spread(rows):
        languages = pa.chunked_array([pa.array([tag for tag, _ in rows], pa.string())])
        values = np.array([value for _, value in rows], dtype=np.float64)
        return Spread.of(languages, values, np.ones(len(rows), bool)), languages, values

    whole, languages, values = spread([row for part in parts for row in part])
    merged = Spread.merged(spread(part)[0] for part in reversed(parts))
    ranks = merged.midranks(languages, values)
    assert np.array_equal(ranks, whole.midranks(languages, values))
    tags = np.array(languages.to_pylist())
    for tag, value, rank in zip(tags, values, ranks, strict=True):
        mine = values[tags == tag]
        assert rank == pytest.approx(np.mean(mine < value) + np.mean(mine == value) / 2)


def test_a_translated_prompt_is_marked_as_its_metadata_say(build, make_view):
    told = ['{"translated": true}', '{"translated": false}', '{"translated": ["x"]}', None]
    prompts = build.prompts(
        [build.prompt(f"p{i}", metadata=metadata) for i, metadata in enumerate(told)]
    )
    candidates = build.candidates([build.candidate(f"c{i}", f"p{i}") for i in range(4)])
    view = make_view("sft", markers=["translated"])
    table = made(view, (prompts, candidates, np.ones(4)))
    assert table["translated"].to_pylist() == ["yes", "no", None, None]


@pytest.mark.parametrize("name", ["preference", *GROUPED])
def test_a_run_whose_rewards_all_tie_or_that_has_one_language_is_a_run_like_others(
    build, make_view, name
):
    tied = made(make_view(name), shard(build, [(i % 2, f"t{i}", True, 1.0) for i in range(8)]))
    assert tied.num_rows == {"preference": 0, "kto": 0, "rloo": 2, "offpolicy": 8}[name]
    one = made(make_view(name), shard(build, [(i % 2, f"t{i}", True, float(i)) for i in range(8)]))
    assert one.num_rows == {"preference": 2, "kto": 8, "rloo": 2, "offpolicy": 8}[name]
    assert set(one["language"].to_pylist()) == {"en"}

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage import schema
from arbitrage.errors import RouterError
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.drawing import (
    admits,
    built_router,
    checked_probabilities,
    prompt_batch,
    route,
)

pytestmark = pytest.mark.usefixtures("pool_registered")

LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en", "zh-Hant"]


def constant(*row: float, **keys: Any) -> dict[str, Any]:
    return {"kind": "test_constant", "row": list(row), **keys}


def test_every_prompt_of_every_language_is_routed_with_its_whole_distribution(
    config_of: Any, prompts_of: Any, languages: list[str]
) -> None:
    config = config_of(constant(0.5, 0.5, 0), samples=3)
    shard = route(prompts_of(languages), config)
    assert shard.routes.schema.equals(schema.ROUTES)
    assert shard.unroutable.schema.equals(schema.GRAVEYARD)
    assert shard.unroutable.num_rows == 0
    for tag, row in zip(languages, shard.routes.to_pylist(), strict=True):
        assert row["language"] == tag
        assert row["teachers"] == ["a", "b", "c"]
        assert row["probabilities"] == [0.5, 0.5, 0]
        assert row["drawn"] in (["a"], ["b"])
        assert row["propensities"] == [0.5]
        assert (row["samples"], row["router"]) == (3, "test_constant@2")


def test_no_prompts_make_two_empty_tables(config_of: Any, prompts_of: Any) -> None:
    shard = route(prompts_of([]), config_of({"kind": "uniform"}))
    assert shard.routes.schema.equals(schema.ROUTES)
    assert (shard.routes.num_rows, shard.unroutable.num_rows) == (0, 0)


def test_a_teacher_is_never_asked_in_a_language_it_does_not_list(
    config_of: Any, prompts_of: Any
) -> None:
    config = config_of({"kind": "uniform"}, {"a": ["zh"], "b": ["zh-Hant", "tr"], "c": None})
    rows = route(prompts_of(["zh", "zh-Hant", "tr", "ko"]), config).routes.to_pylist()
    third = pytest.approx(1 / 3)
    assert [row["probabilities"] for row in rows] == [
        [0.5, 0, 0.5],
        [third, third, third],
        [0, 0.5, 0.5],
        [0, 0, 1],
    ]
    assert rows[3]["drawn"] == ["c"]
    assert rows[3]["propensities"] == [1]


@pytest.mark.parametrize(
    ("listed", "tag", "expected"),
    [
        (None, "th", True),
        ([], "th", False),
        (["zh"], "zh-Hant-TW", True),
        (["zh-Hant"], "zh-Hant-TW", True),
        (["zh-Hant"], "zh", False),
        (["zh-Hant"], "zh-Hans", False),
        (["fi"], "fil", False),
    ],
)
def test_a_listed_tag_admits_itself_and_what_is_below_it(
    listed: list[str] | None, tag: str, expected: bool
) -> None:
    assert admits(listed, tag) is expected


def test_the_fallback_answers_where_nothing_is_left_and_it_may(
    config_of: Any, prompts_of: Any
) -> None:
    pool = {"a": ["tr"], "b": ["tr", "vi"], "c": ["ko"]}
    config = config_of(constant(1, 0, 0, fallback="b"), pool)
    shard = route(prompts_of(["tr", "vi", "ko"]), config)
    rows = shard.routes.to_pylist()
    assert [row["drawn"] for row in rows] == [["a"], ["b"]]
    assert rows[1]["probabilities"] == [0, 1, 0]
    assert rows[1]["propensities"] == [1]
    (lost,) = shard.unroutable.to_pylist()
    assert (lost["kind"], lost["stage"], lost["reasons"]) == (
        "prompt",
        "route",
        ["route.no_teacher"],
    )
    assert (lost["prompt_id"], lost["language"]) == ("p2", "ko")
    assert '"ko"' in lost["detail"]


@given(st.lists(st.sampled_from(LANGUAGES), max_size=30), st.integers(1, 3), st.booleans())
def test_every_prompt_is_routed_or_buried_and_rows_sum_to_one(
    config_of: Any, prompts_of: Any, languages: list[str], drawn: int, fallback: bool
) -> None:
    pool = {"a": ["zh", "tr", "ar"], "b": ["zh-Hant", "hi"], "c": ["ja", "tr"]}
    extra = {"fallback": "a"} if fallback else {}
    config = config_of(constant(0.25, 0.5, 0.25, teachers_per_prompt=drawn, **extra), pool)
    prompts = prompts_of(languages)
    shard = route(prompts, config)
    routed = shard.routes.column("prompt_id").to_pylist()
    buried = shard.unroutable.column("prompt_id").to_pylist()
    assert sorted([*routed, *buried]) == sorted(prompts.column("prompt_id").to_pylist())
    for row in shard.routes.to_pylist():
        assert sum(row["probabilities"]) == pytest.approx(1)
        possible = sum(p > 0 for p in row["probabilities"])
        assert len(set(row["drawn"])) == len(row["drawn"]) == min(drawn, possible)
        shares = dict(zip(row["teachers"], row["probabilities"], strict=True))
        assert all(shares[name] > 0 for name in row["drawn"])


@given(st.integers(1, 3), st.integers(0, 60), st.randoms(use_true_random=False))
def test_a_draw_does_not_depend_on_how_the_shards_are_cut(
    config_of: Any, prompts_of: Any, size: int, cut: int, random: Any
) -> None:
    config = config_of(constant(0.5, 0.3, 0.2, teachers_per_prompt=size), seed=11)
    prompts = prompts_of(LANGUAGES * 5)
    whole = route(prompts, config).routes
    order = list(range(prompts.num_rows))
    random.shuffle(order)
    shuffled = prompts.take(pa.array(order))
    parts = [route(part, config).routes for part in (shuffled[:cut], shuffled[cut:])]
    again = pa.concat_tables(parts).to_pylist()
    assert sorted(again, key=lambda r: int(r["prompt_id"][1:])) == whole.to_pylist()


def test_another_seed_draws_otherwise(config_of: Any, prompts_of: Any) -> None:
    prompts = prompts_of(["tr"] * 100)
    one, two = (route(prompts, config_of({"kind": "uniform"}, seed=n)).routes for n in (1, 2))
    assert one.column("drawn") != two.column("drawn")
    assert one.column("probabilities") == two.column("probabilities")


@pytest.mark.parametrize("size", [1, 2])
def test_teachers_are_drawn_as_often_as_their_propensity_says(
    config_of: Any, prompts_of: Any, size: int
) -> None:
    count = 8_000
    config = config_of(constant(0.6, 0.3, 0.1, teachers_per_prompt=size))
    rows = route(prompts_of(["hi"] * count), config).routes.to_pylist()
    expected = {1: {"a": 0.6, "b": 0.3, "c": 0.1}, 2: {"a": 1.0, "b": 0.75, "c": 0.25}}[size]
    for name, share in expected.items():
        seen = [dict(zip(r["drawn"], r["propensities"], strict=True)).get(name) for r in rows]
        times = [p for p in seen if p is not None]
        assert times == pytest.approx([share] * len(times), rel=1e-6)
        error = 5 * np.sqrt(share * (1 - share) / count)
        assert len(times) / count == pytest.approx(share, abs=error + 1e-12)


@pytest.mark.parametrize(
    "row",
    [
        [0.5, 0.4, 0],
        [0.6, 0.6, 0],
        [1.5, -0.5, 0],
        [float("nan"), 1, 0],
        [float("inf"), 0, 0],
        [1.0],
        [0.25] * 4,
    ],
)
def test_a_router_that_breaks_its_contract_is_named(
    config_of: Any, prompts_of: Any, row: list[float]
) -> None:
    with pytest.raises(RouterError, match="test_constant@2"):
        route(prompts_of(["ru"]), config_of(constant(*row)))


def test_rounding_in_a_row_is_tolerated_and_mended(config_of: Any, prompts_of: Any) -> None:
    (row,) = route(prompts_of(["ja"]), config_of(constant(0.5, 0.500004, 0))).routes.to_pylist()
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-7)


def test_whole_numbers_are_not_probabilities(config_of: Any) -> None:
    router = built_router(config_of({"kind": "uniform"}))
    router.probabilities = lambda batch: np.ones((1, 3), np.int64)  # type: ignore[method-assign, assignment, return-value]
    try:
        with pytest.raises(RouterError, match="int64"):
            checked_probabilities(router, PromptBatch(["p"], [""], ["en"], [None]), "x@1")
    finally:
        del router.probabilities


def test_a_router_is_built_once_per_params_and_pool(config_of: Any) -> None:
    first = built_router(config_of(constant(1, 0, 0)))
    assert built_router(config_of(constant(1, 0, 0, teachers_per_prompt=2), seed=5)) is first
    assert built_router(config_of(constant(0, 1, 0))) is not first
    assert built_router(config_of(constant(1, 0, 0), ["x", "y", "z"])) is not first


def test_a_router_reads_the_last_user_turn_of_each_prompt() -> None:
    talks = [
        [("user", "πρώτα"), ("assistant", "α"), ("user", "ثم")],
        [("system", "s")],
        [],
        [("user", "")],
        [("user", "안녕")],
    ]
    rows = [
        {
            "prompt_id": str(index),
            "messages": [{"role": role, "content": text} for role, text in talk],
            "language": "ko",
            "source": "s",
            "task": "chat" if index else None,
        }
        for index, talk in enumerate(talks)
    ]
    table = schema.table_of(rows, schema.PROMPTS)
    assert prompt_batch(table).texts == ["ثم", "", "", "", "안녕"]
    assert prompt_batch(table.slice(3)).texts == ["", "안녕"]
    assert prompt_batch(table).tasks == [None, "chat", "chat", "chat", "chat"]

"""A dead teacher's prompts move as a whole, by the route's probabilities, or not at all."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.infra.generation.reroute import reroute
from arbitrage.infra.teachers.base import Request, Sample
from arbitrage.schema import ROUTES, table_of

TAGS = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en"]
POOL = ["a", "b", "c", "d"]


def _route(number: int, drawn: list[str], shares=(0.4, 0.3, 0.2, 0.1), samples: int = 2):
    by_name = dict(zip(POOL, shares, strict=True))
    return {
        "prompt_id": f"p{number}",
        "language": TAGS[number % len(TAGS)],
        "router": "fixed@1",
        "teachers": POOL,
        "probabilities": list(shares),
        "drawn": drawn,
        "propensities": [by_name[name] for name in drawn],
        "samples": samples,
    }


def _orphan(number: int, teacher: str, samples: int = 2, first: int = 0) -> Request:
    wanted = tuple(Sample(j, f"{teacher}{number}{j}", j) for j in range(first, first + samples))
    return Request(f"p{number}", TAGS[number % 10], teacher, (("user", "x"),), wanted)


def _reroute(rows, orphans, living, fallback=None, may_answer=lambda teacher, language: True):
    return reroute(
        table_of(rows, ROUTES),
        orphans,
        set(living),
        seed=7,
        fallback=fallback,
        may_answer=may_answer,
    )


def test_a_moved_prompt_says_who_took_over_with_which_probability():
    rows = [_route(0, ["b", "c"]), _route(1, ["a"])]
    found = _reroute(rows, [_orphan(1, "a")], {"b", "c", "d"})
    same, moved = found.routes.to_pylist()
    assert same == table_of(rows, ROUTES).to_pylist()[0]
    (move,) = found.moves
    assert (move.prompt_id, move.dead, move.samples) == ("p1", "a", 2)
    assert moved["drawn"] == [move.teacher]
    share = dict(zip(POOL, (0.4, 0.3, 0.2, 0.1), strict=True))[move.teacher]
    assert moved["propensities"] == pytest.approx([share / 0.6])
    assert moved["router"] == "fixed@1+rerouted"
    assert moved["probabilities"] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert not found.stranded


def test_shares_of_the_living_decide_who_takes_over():
    rows = [_route(i, ["a"]) for i in range(3000)]
    found = _reroute(rows, [_orphan(i, "a") for i in range(3000)], {"b", "c"})
    counts = Counter(move.teacher for move in found.moves)
    assert set(counts) == {"b", "c"}
    assert counts["b"] / 3000 == pytest.approx(0.6, abs=0.04)


def test_a_teacher_already_drawn_is_not_drawn_again():
    found = _reroute([_route(0, ["a", "b"])], [_orphan(0, "a")], {"b", "c"})
    assert found.routes.to_pylist()[0]["drawn"] == ["c", "b"]


def test_two_deaths_of_one_prompt_get_two_different_teachers():
    orphans = [_orphan(0, "a"), _orphan(0, "b")]
    found = _reroute([_route(0, ["a", "b"])], orphans, {"c", "d"})
    assert sorted(found.routes.to_pylist()[0]["drawn"]) == ["c", "d"]


def test_what_is_partly_answered_stays_and_the_rest_is_stranded():
    partly = _orphan(0, "a", samples=1, first=1)
    found = _reroute([_route(0, ["a"])], [partly], {"b"})
    assert (found.moves, found.stranded) == ([], [partly])
    assert found.routes.to_pylist()[0]["drawn"] == ["a"]


def test_parts_of_one_prompt_move_together():
    parts = [_orphan(0, "a", samples=1), _orphan(0, "a", samples=1, first=1)]
    found = _reroute([_route(0, ["a"])], parts, {"b"})
    assert [move.samples for move in found.moves] == [2]
    assert not found.stranded


@pytest.mark.parametrize(
    ("living", "may", "drawn", "left"),
    [({"d"}, True, ["d"], 0), ({"d"}, False, ["a"], 1), ({"b"}, True, ["a"], 1)],
)
def test_the_fallback_takes_over_where_it_lives_and_may(living, may, drawn, left):
    rows = [_route(0, ["a"], shares=(1.0, 0.0, 0.0, 0.0))]
    found = _reroute(rows, [_orphan(0, "a")], living, "d", lambda teacher, language: may)
    assert found.routes.to_pylist()[0]["drawn"] == drawn
    assert len(found.stranded) == left
    if not left:
        assert found.routes.to_pylist()[0]["propensities"] == [1.0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(POOL), min_size=1, unique=True), min_size=1, max_size=12),
    st.sets(st.sampled_from(POOL)),
)
def test_what_was_requested_stays_requested_and_the_same_again(drawn, living):
    rows = [_route(i, names) for i, names in enumerate(drawn)]
    orphans = [
        _orphan(i, name) for i, names in enumerate(drawn) for name in names if name not in living
    ]
    found = _reroute(rows, orphans, living)
    after = found.routes.to_pylist()
    assert [len(row["drawn"]) for row in after] == [len(names) for names in drawn]
    assert all(len(set(row["drawn"])) == len(row["drawn"]) for row in after)
    assert len(found.moves) + len(found.stranded) == len(orphans)
    again = _reroute(rows, orphans[::-1], living)
    assert again.routes.equals(found.routes)

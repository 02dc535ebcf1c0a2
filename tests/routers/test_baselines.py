from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.errors import ConfigError
from arbitrage.routers.base import PromptBatch, Router, RouterParams
from arbitrage.routers.fixed import Fixed, FixedParams
from arbitrage.routers.single import Single, SingleParams
from arbitrage.routers.uniform import Uniform

pytestmark = pytest.mark.usefixtures("pool_registered")

POOL = ["a", "b", "c"]
LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en", "zh-Hant", "pt-BR"]


def rows(router: Router, languages: list[str]) -> list[list[float]]:
    count = len(languages)
    names = [str(index) for index in range(count)]
    batch = PromptBatch(names, [""] * count, languages, [None] * count)
    probabilities = router.probabilities(batch)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (count, len(router.teachers))
    return probabilities.tolist()


def test_single_gives_everything_to_its_teacher() -> None:
    router = Single(SingleParams(teacher="b"), POOL)
    assert rows(router, LANGUAGES) == [[0, 1, 0]] * len(LANGUAGES)


@given(st.integers(1, 200))
def test_uniform_rows_sum_to_one_for_any_pool(count: int) -> None:
    row = rows(Uniform(RouterParams(), [str(n) for n in range(count)]), ["th"])[0]
    assert sum(row) == pytest.approx(1, abs=1e-5)
    assert len(set(row)) == 1


def test_fixed_looks_a_tag_up_whole_then_without_its_subtags_then_defaults() -> None:
    table: Any = {"zh": "a", "ZH_hant": "b", "iw": {"a": 1, "c": 3}}
    router = Fixed(FixedParams(table=table, default="c"), POOL)
    assert rows(router, ["zh", "zh-Hans-CN", "zh-Hant", "zh-Hant-TW", "he", "ko"]) == [
        [1, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
        [0, 1, 0],
        [0.25, 0, 0.75],
        [0, 0, 1],
    ]


def test_fixed_without_default_has_no_teacher_for_an_unnamed_language() -> None:
    router = Fixed(FixedParams(table={"tr": "a"}), POOL)
    assert rows(router, ["vi", "tr"]) == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("router", ["single", "uniform", "fixed"])
def test_no_prompts_give_no_rows(router: str) -> None:
    made: dict[str, Router] = {
        "single": Single(SingleParams(teacher="a"), POOL),
        "uniform": Uniform(RouterParams(), POOL),
        "fixed": Fixed(FixedParams(table={}), POOL),
    }
    assert rows(made[router], []) == []


@given(
    st.dictionaries(
        st.sampled_from(LANGUAGES),
        st.sampled_from(POOL)
        | st.dictionaries(st.sampled_from(POOL), st.floats(0.001, 1e6), min_size=1),
    )
)
def test_fixed_rows_sum_to_one_or_are_all_zero(table: dict[str, Any]) -> None:
    for row in rows(Fixed(FixedParams(table=table), POOL), LANGUAGES):
        assert sum(row) == pytest.approx(1, abs=1e-5) or row == [0, 0, 0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"zh-hant": "a", "zh_Hant": "b"}, "stands twice"),
        ({"klingonese": "a"}, "BCP-47|no registered language"),
        ({"tr": {"a": -1.0}}, "must be finite"),
        ({"tr": {"a": 0.0}}, "not all 0"),
        ({"tr": {}}, "not all 0"),
        ({"tr": {"a": float("inf")}}, "must be finite"),
        ({"tr": {"a": float("nan")}}, "must be finite"),
    ],
)
def test_a_table_that_cannot_route_is_refused(table: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FixedParams(table=table)


@pytest.mark.parametrize(
    "router",
    [
        {"kind": "single", "teacher": "bb"},
        {"kind": "fixed", "table": {"tr": "bb"}},
        {"kind": "fixed", "table": {"tr": {"a": 1, "bb": 1}}},
        {"kind": "fixed", "table": {}, "default": "bb"},
        {"kind": "uniform", "fallback": "bb"},
    ],
)
def test_a_router_that_names_an_absent_teacher_is_a_config_error(
    config_of: Any, router: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match='"bb" is not a teacher of this run'):
        config_of(router)


def test_an_unknown_key_of_a_router_is_a_config_error(config_of: Any) -> None:
    with pytest.raises(ConfigError, match=r'router\.teachers: unknown key. Did you mean "teacher"'):
        config_of({"kind": "single", "teachers": "a", "teacher": "a"})

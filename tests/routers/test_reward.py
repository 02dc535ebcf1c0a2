from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from arbitrage.config import RunConfig
from arbitrage.routers.drawing import route
from arbitrage.schema import PROMPTS

LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en"]


def data(**router: Any) -> dict[str, Any]:
    return {
        "prompts": {"source": "prompts.parquet"},
        "teachers": [{"name": n, "backend": "replay", "recordings": "r.parquet"} for n in "abc"],
        "router": {"kind": "reward", "reward": "maximize:length.words", **router},
        "filters": {"length": {}},
    }


def test_it_asks_every_teacher_and_the_reward_chooses() -> None:
    config = RunConfig.model_validate(data())
    assert config.router.teachers_per_prompt == 3
    assert config.select.objective == "maximize:length.words"
    assert config.select.per_prompt == 1
    assert config.resolved()["select"]["objective"] == "maximize:length.words"


def test_what_the_config_says_of_choosing_stays() -> None:
    said = {"objective": "minimize:length.words", "per_prompt": 2}
    config = RunConfig.model_validate({**data(), "select": said})
    assert (config.select.objective, config.select.per_prompt) == ("minimize:length.words", 2)


def test_every_admitted_teacher_is_drawn_for_certain() -> None:
    content = data()
    content["teachers"][2]["languages"] = ["tr"]
    messages = [[{"role": "user", "content": f"soru {n}"}] for n in range(len(LANGUAGES))]
    rows = [
        {"prompt_id": tag, "messages": asked, "language": tag, "source": "s"}
        for tag, asked in zip(LANGUAGES, messages, strict=True)
    ]
    prompts = pa.Table.from_pylist(rows, schema=PROMPTS)
    routes = route(prompts, RunConfig.model_validate(content)).routes
    drawn = dict(zip(LANGUAGES, routes["drawn"].to_pylist(), strict=True))
    assert drawn.pop("tr") == ["a", "b", "c"]
    assert list(drawn.values()) == [["a", "b"]] * 9
    assert {p for row in routes["propensities"].to_pylist() for p in row} == {1.0}


@pytest.mark.parametrize(
    ("router", "complaint"),
    [
        ({"teachers_per_prompt": 2}, "asks every teacher, all 3"),
        ({"reward": "maximize:length.word"}, '"length.word"'),
        ({"reward": "length.words"}, "is not an objective"),
        ({"rewards": "maximize:length.words"}, "Extra inputs"),
    ],
)
def test_a_config_that_cannot_be_is_refused(router: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(data(**router))
    assert complaint in str(caught.value)


def test_without_its_reward_it_says_so() -> None:
    content = data()
    del content["router"]["reward"]
    with pytest.raises(ValidationError, match=r"(?s)reward.*Field required"):
        RunConfig.model_validate(content)

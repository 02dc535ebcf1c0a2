"""A teacher backend and a router for these tests only, and prompts to route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from arbitrage import registry
from arbitrage.config import RunConfig, parse_config
from arbitrage.infra.teachers.base import Completion, Request, Teacher, TeacherParams
from arbitrage.routers.base import PromptBatch, Router, RouterParams
from arbitrage.schema import PROMPTS, table_of

TEXTS = {
    "ar": "مرحبا",
    "hi": "नमस्ते",
    "ja": "こんにちは",
    "ko": "안녕하세요",
    "ru": "Привет",
    "th": "สวัสดี",
    "tr": "Merhaba",
    "vi": "Xin chào",
    "zh": "你好 👩‍👩‍👧‍👦",
    "zh-Hant": "妳好",
    "en": "Hello",
}


class Unused(Teacher):
    """Never asked: routing only needs teachers by name."""

    Params = TeacherParams

    async def generate(self, request: Request) -> list[Completion]:
        return []

    async def check(self) -> str:
        return "unused"


class ConstantParams(RouterParams):
    """Params of the test router."""

    row: list[float]


class Constant(Router):
    """Gives every prompt one row of probabilities, right or wrong."""

    Params = ConstantParams
    params: ConstantParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        return np.tile(np.array(self.params.row, np.float32), (len(batch), 1))


@pytest.fixture(scope="module")
def pool_registered() -> Iterator[None]:
    """The test-only plug-ins, gone again after the module, so that no other test meets them."""
    registry.teachers.register("test_unused", version=1)(Unused)
    registry.routers.register("test_constant", version=2)(Constant)
    yield
    del registry.teachers._entries["test_unused"]
    del registry.routers._entries["test_constant"]


def config_of(
    router: dict[str, Any],
    teachers: Sequence[str] | dict[str, list[str] | None] = ("a", "b", "c"),
    **run: Any,
) -> RunConfig:
    pool = dict.fromkeys(teachers) if not isinstance(teachers, dict) else teachers
    return parse_config(
        {
            "run": run,
            "prompts": {"source": "none.jsonl"},
            "teachers": [
                {"name": name, "backend": "test_unused"} | ({"languages": tags} if tags else {})
                for name, tags in pool.items()
            ],
            "router": router,
            "views": {},
        }
    )


def prompts_of(languages: Sequence[str]) -> pa.Table:
    rows = [
        {
            "prompt_id": f"p{index}",
            "messages": [{"role": "user", "content": TEXTS.get(tag, "?")}],
            "language": tag,
            "source": "s",
        }
        for index, tag in enumerate(languages)
    ]
    return table_of(rows, PROMPTS)


@pytest.fixture(name="config_of", scope="session")
def _config_of() -> Any:
    return config_of


@pytest.fixture(name="prompts_of", scope="session")
def _prompts_of() -> Any:
    return prompts_of


@pytest.fixture(name="languages", scope="session")
def _languages() -> list[str]:
    return list(TEXTS)

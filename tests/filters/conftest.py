"""A small real filter and teacher, registered for these tests only, and tables to decide on."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from arbitrage import registry
from arbitrage.config import RunConfig, parse_config
from arbitrage.filters import scoring
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores
from arbitrage.infra.teachers.base import Completion, Request, Teacher, TeacherParams
from arbitrage.schema import GENERATED, table_of

TEXTS = {
    "ar": "مرحبا بالعالم",
    "hi": "नमस्ते दुनिया",
    "ja": "こんにちは世界",
    "ko": "안녕하세요 세계",
    "ru": "Здравствуй, мир",
    "th": "สวัสดีชาวโลก",
    "tr": "Merhaba dünya",
    "vi": "Xin chào thế giới",
    "zh": "你好,世界 👩‍👩‍👧‍👦",
    "zh-Hant": "你好,世界",
    "en": "Hello world",
}


class MarksParams(FilterParams):
    """Params of the test filter."""

    scale: float = 1.0
    min_marks: float | None = None
    max_marks: float | None = None
    min_share: float | None = None


class Marks(Filter):
    """Counts code points and the share that is ASCII; abstains on empty text."""

    Params = MarksParams
    measures = ("marks", "share")
    labels = ("first",)
    causes: ClassVar[dict[str, str]] = {"max_marks": "too_long"}
    params: MarksParams
    built: ClassVar[int] = 0
    batches: ClassVar[list[int]] = []

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        time.sleep(0.02)  # long enough for a second thread to build it too, were there no lock
        type(self).built += 1

    def score(self, batch: Batch) -> Scores:
        self.batches.append(len(batch))
        marks = [len(text) * self.params.scale if text else np.nan for text in batch.texts]
        share = [sum(c < "\x80" for c in t) / len(t) if t else np.nan for t in batch.texts]
        return Scores(
            {"marks": np.array(marks, np.float32), "share": np.array(share, np.float32)},
            {"first": [text[0] if text else None for text in batch.texts]},
        )


class Silent(Teacher):
    """Answers nothing: the configs of these tests need a teacher that exists."""

    Params = TeacherParams

    async def generate(self, request: Request) -> list[Completion]:
        return [Completion(sample.index, error="generate.silent") for sample in request.samples]

    async def check(self) -> str:
        return "silent"


@pytest.fixture(scope="module")
def marks_registered() -> Iterator[None]:
    """The test-only plug-ins, gone again after the module, so that no other test meets them."""
    registry.filters.register("test_marks", version=3)(Marks)
    registry.teachers.register("test_silent", version=1)(Silent)
    yield
    scoring.close_filters()
    del registry.filters._entries["test_marks"]
    del registry.teachers._entries["test_silent"]


def config_of(filters: dict[str, Any] | None = None, **select: Any) -> RunConfig:
    return parse_config(
        {
            "prompts": {"source": "none.jsonl"},
            "teachers": [{"name": "t", "backend": "test_silent"}],
            "filters": {"test_marks": {}} if filters is None else filters,
            "select": select,
            "views": {},
        }
    )


def generated(rows: Sequence[dict[str, Any]]) -> pa.Table:
    base = {
        "prompt_id": "p",
        "language": "en",
        "teacher": "t",
        "sample_index": 0,
        "text": "text",
        "route_probability": 1.0,
        "router": "uniform@1",
        "params_hash": "h",
        "created_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    }
    return table_of(
        [{**base, "candidate_id": f"c{index:06}", **row} for index, row in enumerate(rows)],
        GENERATED,
    )


def scored(config: RunConfig, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Candidates whose scores are given, under their column names, rather than measured."""
    plain = [{k: v for k, v in row.items() if k in GENERATED.names} for row in rows]
    table = generated(plain)
    for field in scoring.score_columns(config):
        values = pa.array([row.get(field.name) for row in rows], field.type)
        table = table.append_column(field, values)
    return table


@pytest.fixture(name="config_of", scope="session")
def _config_of() -> Any:
    return config_of


@pytest.fixture(name="generated", scope="session")
def _generated() -> Any:
    return generated


@pytest.fixture(name="scored", scope="session")
def _scored() -> Any:
    return scored


@pytest.fixture(name="texts", scope="session")
def _texts() -> dict[str, str]:
    return dict(TEXTS)


@pytest.fixture(name="marks", scope="session")
def _marks() -> type[Marks]:
    return Marks

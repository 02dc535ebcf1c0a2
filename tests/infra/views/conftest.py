"""A small decided shard in ten languages, built through the declared schemas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from arbitrage.schema import PROMPTS, candidates_schema, score_fields, table_of

SCORES = score_fields({"length.words": {"filter": "length@1"}}, {"language_id.language": {}})

TEXTS = {
    "ar": "مرحبًا بالعالم، كيف الحال؟",
    "hi": "नमस्ते दुनिया, कैसे हैं?",
    "ja": "こんにちは、世界。「元気ですか」",
    "ko": "안녕하세요, 세계!",
    "ru": "Привет, мир — как дела?",
    "th": "สวัสดีชาวโลก สบายดีไหม",
    "tr": "Merhaba dünya, nasılsın? İıŞş",
    "vi": "Xin chào thế giới, bạn khỏe không?",
    "zh": "你好，世界！𠮷",
    "en": "Hello 👩‍👩‍👧 world\n\n```py\nx = '\\n'\n```",
}


def prompt(prompt_id: str, language: str = "en", **fields: Any) -> dict[str, Any]:
    asked = [{"role": "user", "content": TEXTS[language]}]
    return {
        "prompt_id": prompt_id,
        "messages": asked,
        "language": language,
        "source": "s",
        **fields,
    }


def candidate(candidate_id: str, prompt_id: str, **fields: Any) -> dict[str, Any]:
    made = {
        "candidate_id": candidate_id,
        "prompt_id": prompt_id,
        "language": "en",
        "teacher": "a",
        "sample_index": 0,
        "text": f"answer {candidate_id}",
        "route_probability": 0.5,
        "router": "uniform@1",
        "params_hash": "0",
        "created_at": datetime(2026, 11, 21, tzinfo=UTC),
        "kept": True,
        "reasons": [],
        "chosen": True,
    }
    return made | fields


def prompts_table(rows: list[dict[str, Any]]) -> pa.Table:
    return table_of(rows, PROMPTS)


def candidates_table(rows: list[dict[str, Any]]) -> pa.Table:
    return table_of(rows, candidates_schema(SCORES))


@pytest.fixture
def build() -> Any:
    """The builders of this module, for tests that make their own shard."""

    class Builders:
        texts = TEXTS
        prompt = staticmethod(prompt)
        candidate = staticmethod(candidate)
        prompts = staticmethod(prompts_table)
        candidates = staticmethod(candidates_table)

    return Builders


@pytest.fixture
def ten_languages() -> tuple[pa.Table, pa.Table, np.ndarray]:
    """One prompt a language, two candidates each: `.good` scores 2 and `.poor` scores 1."""
    prompts = [
        prompt(f"p-{language}", language, reference="r" if language == "tr" else None)
        for language in TEXTS
    ]
    candidates = [
        candidate(
            f"p-{language}.{grade}",
            f"p-{language}",
            language=language,
            teacher=teacher,
            text=f"{text} {grade}",
            chosen=grade == "good",
        )
        for language, text in TEXTS.items()
        for grade, teacher in (("good", "a"), ("poor", "b"))
    ]
    return prompts_table(prompts), candidates_table(candidates), np.array([2.0, 1.0] * len(TEXTS))


@pytest.fixture
def make_view() -> Callable[..., Any]:
    """Build a view by its registered name, as the flow does."""
    from arbitrage import registry

    def make(name: str, **params: Any) -> Any:
        entry = registry.views.get(name)
        return entry.plugin(entry.params(**params))

    return make

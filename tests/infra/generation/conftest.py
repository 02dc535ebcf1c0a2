"""Teachers, requests and a collecting sink for the tests of generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from arbitrage.config import TeacherConfig
from arbitrage.infra.teachers.base import Completion, Request, Sample

TEXTS = {
    "ar": "ما هي عاصمة تركيا؟",
    "hi": "तुर्की की राजधानी क्या है?",
    "ja": "トルコの首都はどこですか",
    "ko": "터키의 수도는 어디입니까?",
    "ru": "Какая столица Турции?",
    "th": "เมืองหลวงของตุรกีคืออะไร",
    "tr": "Türkiye'nin başkenti neresidir?",
    "vi": "Thủ đô của Thổ Nhĩ Kỳ là gì?",
    "zh": "土耳其的首都是哪里？",
    "en": "What is the capital of Turkey? 🇹🇷",
}


def make_request(number: int, teacher: str = "t", samples: int = 1) -> Request:
    language = list(TEXTS)[number % len(TEXTS)]
    wanted = tuple(Sample(j, f"{teacher}-{number}-{j}", number * 100 + j) for j in range(samples))
    messages = (("user", f"{TEXTS[language]} {number}"),)
    return Request(f"p{number}", language, teacher, messages, wanted)


class Collected:
    """A sink that keeps what it is given, and fails on anything given twice."""

    def __init__(self) -> None:
        self.by_id: dict[str, Completion] = {}

    async def __call__(self, request: Request, completions: list[Completion]) -> None:
        ids = {sample.index: sample.candidate_id for sample in request.samples}
        for completion in completions:
            candidate = ids[completion.sample_index]
            assert candidate not in self.by_id
            self.by_id[candidate] = completion


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
def requests_for() -> Callable[..., Request]:
    return make_request


@pytest.fixture
def openai_teacher() -> Callable[..., TeacherConfig]:
    """A TeacherConfig of the `openai` backend for a base_url."""

    def make(base_url: str, **more: Any) -> TeacherConfig:
        given = {"name": "t", "backend": "openai", "model": "stand-in", "base_url": base_url}
        return TeacherConfig.model_validate(given | more)

    return make

"""The keys of [[teachers]] with backend "vllm": what cannot be meant, and what is identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from arbitrage.config import TeacherConfig


@pytest.fixture
def teacher() -> Callable[..., TeacherConfig]:
    def make(**more: Any) -> TeacherConfig:
        return TeacherConfig.model_validate(
            {"name": "t", "backend": "vllm", "model": "tiny", **more}
        )

    return make


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"environment": {"HF_TOKEN": "hf_abc"}}, r"looks like a secret.*\$HF_TOKEN"),
        ({"arguments": ["--port=1"]}, "is set by the engine"),
        ({"serving_arguments": ["--served-model-name", "x"]}, "is set by the engine"),
        ({"provider": "openai"}, "provider is a key of backend"),
        ({"restarts": -1}, "greater than or equal to 0"),
        ({"exclusiv": "gpu0"}, "Extra inputs"),
    ],
)
def test_keys_that_cannot_be_meant_are_refused(teacher, more, said) -> None:
    with pytest.raises(ValidationError, match=said):
        _ = teacher(**more).params


def test_how_it_is_served_is_no_part_of_who_it_is(teacher) -> None:
    base = teacher()
    for more in (
        {"serving_arguments": ["--gpu-memory-utilization", "0.8"]},
        {"port": 8000},
        {"exclusive": "gpu0"},
        {"base_url": "http://localhost:8000/v1"},
        {"environment": {"CUDA_VISIBLE_DEVICES": "1"}},
        {"command": ["/opt/vllm/bin/vllm", "serve"]},
        {"restarts": 9},
    ):
        assert teacher(**more).identity == base.identity, more
    assert teacher(arguments=["--quantization", "fp8"]).identity != base.identity

"""Runs whose teachers share a device: one server at a time, each model loaded once in the run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from fake_vllm import runs, starts

from arbitrage.config import RunConfig
from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

TESTS = Path(__file__).resolve().parents[2]
FAKE = [sys.executable, str(TESTS / "fake_vllm.py"), "serve"]
PROMPTS = {
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

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.usefixtures("prefect_server"),
]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "starts.jsonl"


@pytest.fixture
def config(tmp_path: Path, record: Path) -> Callable[..., RunConfig]:
    """Ten prompts in ten shards, all asked of each teacher given as name -> further keys."""
    source = tmp_path / "prompts.jsonl"
    rows = [{"prompt": text, "language": tag} for tag, text in PROMPTS.items()]
    source.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))

    def make(teachers: dict[str, dict[str, Any]], **sections: Any) -> RunConfig:
        common = {"backend": "vllm", "command": FAKE, "dead_after_s": 0.5, "max_retries": 20}
        own = {"log_folder": str(tmp_path / "logs"), "startup_timeout_s": 200, "stop_grace_s": 5}
        listed = []
        for name, keys in teachers.items():
            arguments = ["--record", str(record), *keys.pop("faults", [])]
            served = {"name": name, "model": f"model-{name}", "serving_arguments": arguments}
            listed.append(served | common | own | keys)
        given = {
            "run": {"output": str(tmp_path / "runs"), "shard_size": 1, "samples": 2},
            "prompts": {"source": str(source)},
            "teachers": listed,
            "router": {"kind": "uniform", "teachers_per_prompt": len(listed)},
            "views": {},
        }
        for section, keys in sections.items():
            given[section] = given[section] | keys
        return RunConfig.model_validate(given)

    return make


def _distill(config: RunConfig) -> tuple[dict[str, Any], pl.DataFrame]:
    from arbitrage.flows.distill import distill

    uri = distill(config)
    report = verify_run(Path(uri))
    return report.to_json(), open_run(uri).candidates.collect()


def _loads(record: Path) -> Counter[str]:
    return Counter(one["model"] for one in starts(record))


def test_each_model_is_loaded_once_over_all_shards_and_never_beside_another(config, record):
    teachers = {name: {"exclusive": "gpu0"} for name in ("a", "b", "c")} | {"free": {}}
    report, candidates = _distill(config(teachers))
    assert report["ok"]
    assert report["shards"] == 10
    assert report["requested"] == report["candidates"] == 80
    assert Counter(candidates["teacher"]) == dict.fromkeys(["a", "b", "c", "free"], 20)
    assert candidates["error"].null_count() == 80
    assert _loads(record) == {f"model-{name}": 1 for name in ("a", "b", "c", "free")}
    beside = {one["model"]: set(one["beside"]) - {"model-free"} for one in starts(record)}
    assert set.union(*(beside[f"model-{name}"] for name in ("a", "b", "c"))) == set()
    assert not any(runs(one["pid"]) or runs(one["child"]) for one in starts(record))


def test_a_dead_teachers_prompts_wait_for_the_wave_of_their_new_one(config, record):
    teachers = {
        "a": {"exclusive": "gpu0", "restarts": 0, "faults": ["--crash-after", "0"]},
        "b": {"exclusive": "gpu0"},
    }
    report, candidates = _distill(config(teachers, router={"teachers_per_prompt": 1}))
    assert report["ok"]
    assert set(candidates["teacher"]) == {"b"}
    assert candidates.height == 20
    assert _loads(record) == {"model-a": 1, "model-b": 1}


def test_nothing_moves_to_a_teacher_whose_wave_is_over(config, record):
    teachers = {
        "a": {"exclusive": "gpu0"},
        "b": {"exclusive": "gpu0", "restarts": 0, "faults": ["--crash-after", "0"]},
    }
    report, candidates = _distill(config(teachers, router={"teachers_per_prompt": 1}))
    assert report["ok"]
    assert report["failed"] > 0
    assert report["kept"] + report["failed"] == 20
    failed = candidates.filter(pl.col("error").is_not_null())
    assert set(failed["teacher"]) <= {"b"}
    assert _loads(record) == {"model-a": 1, "model-b": 1}


def test_a_preview_takes_turns_too(config, record):
    from arbitrage.flows.preview import preview_prompts

    teachers = {"a": {"exclusive": "gpu0"}, "b": {"exclusive": "gpu0"}}
    shown = list(preview_prompts(config(teachers), 2))
    assert len(shown) == 2
    assert [one["beside"] for one in starts(record)] == [[], []]

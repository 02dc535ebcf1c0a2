"""The `vllm` backend with vLLM itself on the CPU: two models in turns on one device, end to end.

The server runs in an environment of its own (`make vllm`), this test in ours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from run_configs import TEXTS
from server_watch import ServerWatch

from arbitrage.config import RunConfig, TeacherConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run
from arbitrage.infra.teachers.vllm import Vllm

GIVEN = os.environ.get("ARBITRAGE_TEST_VLLM", "")
WEIGHTS = Path(GIVEN) / "weights"
MODELS = {"smollm2": str(WEIGHTS / "smollm2-135m"), "gemma3": str(WEIGHTS / "gemma3-270m")}
SAMPLES, MAX_TOKENS, CONTEXT = 4, 8, 256
ALWAYS_THERE = ("VLLM::EngineCor", "VLLM::Worker")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.skipif(
        not all(Path(model).is_dir() for model in MODELS.values()) or not GIVEN,
        reason="needs vLLM and two models in an environment of their own: run `make test-vllm`",
    ),
]


def teacher(name: str, logs: Path, **more: Any) -> dict[str, Any]:
    """What a user writes for a server on a CPU; on a GPU the last two arguments go."""
    return {
        "name": name,
        "backend": "vllm",
        "model": MODELS.get(name, name),
        "command": [f"{GIVEN}/bin/python", "-m", "vllm.entrypoints.openai.api_server"],
        "arguments": ["--max-model-len", str(CONTEXT), "--dtype", "float32"],
        "serving_arguments": ["--enforce-eager"],
        "environment": {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        "exclusive": "cpu",
        "log_folder": str(logs),
        "startup_timeout_s": 400,
        "timeout_s": 600,
        "max_concurrency": 4,
        "sampling": {"temperature": 0.8, "max_tokens": MAX_TOKENS, "logprobs": True},
        **more,
    }


def config(folder: Path, teachers: list[dict[str, Any]], prompts: dict[str, str]) -> RunConfig:
    source = folder / "prompts.jsonl"
    rows = [{"prompt_id": i, "prompt": t, "language": i[:2]} for i, t in prompts.items()]
    source.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return RunConfig.model_validate(
        {
            "run": {"output": str(folder / "runs"), "shard_size": 3, "samples": SAMPLES},
            "prompts": {"source": str(source)},
            "teachers": teachers,
            "router": {"kind": "uniform", "teachers_per_prompt": len(teachers)},
            "filters": {"length": {}},
            "select": {"objective": "maximize:length.words"},
            "views": {"sft": {}},
        }
    )


@dataclass(frozen=True)
class Done:
    """A finished run, and what was seen of its servers."""

    report: dict[str, Any]
    candidates: pl.DataFrame
    watch: ServerWatch
    logs: Path

    @property
    def answered(self) -> pl.DataFrame:
        return self.candidates.filter(pl.col("error").is_null())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Done:
    """Ten prompts in ten languages and one that is too long, each asked four times of both."""
    from arbitrage.flows.distill import distill

    folder = tmp_path_factory.mktemp("real")
    logs = folder / "logs"
    prompts = TEXTS | {"en-long": "far too long " * CONTEXT}
    teachers = [teacher(name, logs) for name in MODELS]
    with ServerWatch(*MODELS.values()) as watch:
        uri = distill(config(folder, teachers, prompts))
    report = verify_run(Path(uri)).to_json()
    return Done(report, open_run(uri).candidates.collect(), watch, logs)


def test_the_counts_add_up_and_verify_finds_nothing_wrong(done: Done) -> None:
    assert done.report["ok"]
    assert done.report["prompts"] == 11
    assert done.report["shards"] == 4
    assert done.report["requested"] == done.report["candidates"] == 11 * SAMPLES * 2
    assert done.report["kept"] + done.report["rejected"] == 10 * SAMPLES * 2
    assert done.report["failed"] == SAMPLES * 2
    assert done.report["duplicates"] == done.report["missing"] == 0
    assert Counter(done.answered["teacher"]) == dict.fromkeys(MODELS, 10 * SAMPLES)


def test_a_prompt_beyond_the_context_fails_alone_and_says_why(done: Done) -> None:
    failed = done.candidates.filter(pl.col("error").is_not_null())
    assert set(failed["prompt_id"]) == {"en-long"}
    assert set(failed["error"]) == {"generate.prompt_too_long"}


def test_every_answer_has_log_probabilities_and_token_counts(done: Done) -> None:
    answered = done.answered
    assert answered["sum_logprob"].null_count() == 0
    assert (answered["sum_logprob"] < 0).all()
    assert answered["completion_tokens"].is_between(1, MAX_TOKENS).all()
    assert (answered["prompt_tokens"] > 0).all()
    assert set(answered["finish_reason"]) <= {"stop", "length"}


def test_the_four_samples_of_a_prompt_differ(done: Done) -> None:
    by_prompt = done.answered.group_by("teacher", "prompt_id").agg(
        pl.col("sample_index").sort(), pl.col("text").n_unique().alias("texts")
    )
    assert by_prompt["sample_index"].to_list() == [list(range(SAMPLES))] * 20
    assert by_prompt["texts"].mean() > 2


@pytest.mark.parametrize("name", MODELS)
def test_the_four_samples_of_a_prompt_are_one_request(done: Done, name: str) -> None:
    said = (done.logs / f"{name}.log").read_text(errors="replace")
    assert said.count('"POST /v1/chat/completions HTTP/1.1" 200') == 10
    assert said.count('"POST /v1/chat/completions HTTP/1.1" 400') == 1


def test_each_model_is_loaded_once_and_never_beside_the_other(done: Done) -> None:
    assert done.watch.loads == dict.fromkeys(MODELS.values(), 1)
    assert done.watch.most_at_once == 1


def test_no_process_of_a_server_is_left(done: Done) -> None:
    for model in MODELS.values():
        names = set(done.watch.seen[model].values())
        assert names >= set(ALWAYS_THERE), names  # else the watch saw too little to tell
        assert done.watch.alive(model) == []


def test_an_engine_killed_in_mid_run_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    from arbitrage.flows.distill import distill

    logs, model = tmp_path / "logs", MODELS["smollm2"]
    killed: list[int] = []

    def kill_the_engine(watch: ServerWatch) -> None:
        log = logs / "smollm2.log"
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            if log.exists() and '/v1/chat/completions HTTP/1.1" 200' in log.read_text("utf-8"):
                killed.extend(watch.alive(model, "VLLM::EngineCor"))
                os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.05)

    served = teacher("smollm2", logs, max_concurrency=1, max_retries=20, restarts=2)
    with ServerWatch(model) as watch:
        killer = threading.Thread(target=kill_the_engine, args=(watch,))
        killer.start()
        uri = distill(config(tmp_path, [served], TEXTS))
        killer.join()
    report = verify_run(Path(uri)).to_json()
    assert len(killed) == 1
    assert report["ok"]
    assert report["failed"] == 0
    assert report["candidates"] == len(TEXTS) * SAMPLES
    assert watch.loads == {model: 2}
    assert watch.alive(model) == []


def test_weights_that_an_engine_cannot_load_end_it_with_the_engines_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(MODELS["smollm2"], broken)
    os.truncate(broken / "model.safetensors", 1_000_000)
    given = teacher("broken", tmp_path / "logs", model=str(broken))

    async def start() -> None:
        await Vllm(TeacherConfig.model_validate(given)).open()

    with ServerWatch(str(broken)) as watch, pytest.raises(ConfigError) as raised:
        asyncio.run(start())
    said = str(raised.value)
    assert "before it was ready" in said
    # The server around the engine says after it, at length, only that the engine failed.
    assert "SafetensorError: Error while deserializing" in said
    assert str(tmp_path / "logs" / "broken.log") in said
    assert watch.alive(str(broken)) == []

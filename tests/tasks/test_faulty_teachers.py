"""Whole runs with one good and one faulty teacher: each ends, and its account adds up."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

PROMPTS, SAMPLES = 40, 2
NOBODY = "http://127.0.0.1:9/v1"

# The mode of the server, and the reason that its faults have.
DEADLY = {
    "server_error": "generate.server_error",
    "hang": "generate.timeout",
    "drip": "generate.timeout",
    "reset": "generate.connection",
    "wrong_content_type": "generate.wrong_content_type",
    "unauthorized": "generate.http_401",
    "gone": "generate.connection",
}
FAILING = {
    "rate_limit": "generate.rate_limited",
    "malformed": "generate.malformed_response",
    "empty_choices": "generate.empty_choices",
    "fewer_choices": "generate.fewer_choices",
    "huge": "generate.response_too_large",
    "too_long": "generate.prompt_too_long",
    "null_content": "generate.no_text",
}
HARMLESS = ("nan_logprobs", "wrong_model", "surrogates", "think", "reasoning", "parrot")
# One of the two samples of a request comes whole.
HALF = ("fewer_choices", "null_content")


def _data(
    configs: ModuleType, folder: Path, good: str, faulty: str, timeout_s: float
) -> dict[str, Any]:
    data: dict[str, Any] = configs.served_data(folder, good, prompts=PROMPTS, samples=SAMPLES)
    (teacher,) = data["teachers"]
    limits = {
        "max_concurrency": 8,
        "max_retries": 1,
        "timeout_s": timeout_s,
        "dead_after_s": 0.5,
        "max_response_bytes": 1 << 20,
    }
    data["teachers"] = [teacher, {**teacher, "name": "faulty", "base_url": faulty, **limits}]
    return {**data, "router": {"kind": "uniform"}}


@pytest.mark.parametrize("mode", [*DEADLY, *FAILING, *HARMLESS])
def test_a_run_with_a_faulty_teacher_ends_and_adds_up(
    mode: str, run_configs: ModuleType, stand_in: ModuleType, tmp_path: Path
) -> None:
    gone = mode == "gone"
    faulty = stand_in.StandIn(None if gone else stand_in.Behaviour(mode=mode, huge_bytes=1 << 22))
    with stand_in.StandIn() as good, nullcontext() if gone else faulty:
        address = NOBODY if gone else faulty.base_url
        # Short where the test has to wait for it; else a busy machine must not run into it.
        timeout_s = 0.5 if mode in {"hang", "drip"} else 100.0
        data = _data(run_configs, tmp_path, good.base_url, address, timeout_s)
        config = run_configs.parsed(data)
        path = run_configs.run_steps(config)
    run = open_run(path)
    assert verify_run(path).problems == []
    totals, deaths = run.manifest["totals"], run.manifest["deaths"]
    assert totals["requested"] == PROMPTS * SAMPLES
    assert totals["kept"] + totals["rejected"] + totals["failed"] == PROMPTS * SAMPLES
    buried = run.graveyard.collect().filter(kind="candidate")["reasons"].explode().to_list()
    failures = {reason for reason in buried if reason.startswith("generate.")}
    drawn = run.routes.collect()["drawn"].explode().to_list().count("faulty")
    if mode in DEADLY:
        (death,) = deaths
        assert (death["teacher"], death["failed"]) == ("faulty", 0)
        assert death["reason"].startswith(f"{DEADLY[mode]}: ")
        assert death["rerouted"] > 0
        # With few in flight some use up their retry before the breaker opens; they stay failed.
        assert failures <= (set() if gone else {DEADLY[mode]})
        assert totals["failed"] == drawn * SAMPLES
    else:
        assert deaths == []
        assert drawn > 0
        assert failures == ({FAILING[mode]} if mode in FAILING else set())
        asked = drawn * SAMPLES if mode in FAILING else 0
        assert totals["failed"] == (asked // 2 if mode in HALF else asked)


def test_every_mode_of_the_server_has_its_row(stand_in: ModuleType) -> None:
    assert {*DEADLY, *FAILING, *HARMLESS} - {"gone"} == set(stand_in.MODES) - {"none"}

"""A run against a real socket: what was planned, what was used, and a budget that ends it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arbitrage.flows.cli import app
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.usage import UsageLog
from arbitrage.infra.teachers.base import Completion, Request, Usage

pytestmark = pytest.mark.usefixtures("prefect_server")

TEXTS = ["ما هي عاصمة تركيا؟", "Türkiye'nin başkenti neresidir?", "土耳其的首都是哪里？"] * 10
LANGUAGES = ["ar", "tr", "zh"] * 10


@pytest.fixture
def server() -> Any:
    stand_in = importlib.import_module("stand_in_server")
    with stand_in.StandIn(stand_in.Behaviour(tokens=8, keeps=1000)) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: Any) -> Path:
    """30 prompts, 3 samples each, the last one greedy; 8 tokens a sample at 1000 USD a million."""
    prompts = tmp_path / "prompts.jsonl"
    rows = [
        {"prompt_id": f"p{i}", "prompt": f"{text} {i}", "language": language}
        for i, (text, language) in enumerate(zip(TEXTS, LANGUAGES, strict=True))
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        [run]
        output = "{tmp_path}/runs"
        shard_size = 10
        samples = 3
        [prompts]
        source = "{prompts}"
        [[teachers]]
        name = "a"
        model = "stand-in"
        backend = "openai"
        base_url = "{server.base_url}"
        cost_per_million_tokens = {{ output = 1000.0, input = 0.0 }}
        sampling = {{ temperature = 0.7, min_p = 0.2, max_tokens = 8, greedy_samples = 1 }}
        """,
        encoding="utf-8",
    )
    return path


def run(config: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["run", str(config), "--run-id", "r", *more])


def test_the_manifest_and_the_report_hold_the_plan_and_what_was_used(
    config: Path, server: Any
) -> None:
    planned = CliRunner().invoke(app, ["plan", str(config), "--json"])
    done = run(config)
    assert done.exit_code == 0, done.output
    finished = open_run(config.parent / "runs" / "r")
    plan, used = finished.manifest["plan"], finished.manifest["usage"]["a"]
    assert plan == json.loads(planned.stdout)
    (expected,) = plan["teachers"]
    assert expected["requests"] == used["requests"] == server.stats.requests == 60
    assert expected["output_tokens"] == used["completion_tokens"] == 90 * 8
    assert expected["cost_usd"] == pytest.approx(0.72)
    assert finished.manifest["totals"]["cost_usd"] == pytest.approx(used["cost_usd"])
    assert finished.manifest["totals"]["completion_tokens"] == 720
    candidates = finished.candidates.collect()
    assert candidates["cost_usd"].sum() == pytest.approx(0.72, rel=1e-5)
    by_hash = candidates.group_by("params_hash").len().sort("len")
    assert by_hash["len"].to_list() == [30, 60]
    assert "Planned and actual" in (finished.path / "report.html").read_text(encoding="utf-8")
    greedy = [body for body in server.stats.kept if body["temperature"] == 0]
    assert len(greedy) == 30


def test_a_budget_ends_the_run_with_a_sentence_and_its_counts_add_up(
    config: Path, server: Any
) -> None:
    done = run(config, "--set", "run.budget_usd=0.36", "--set", "run.max_failed_share=1")
    assert done.exit_code == 3, done.output
    assert "run.budget_usd = 0.36 is spent" in " ".join(done.output.split())
    totals = open_run(config.parent / "runs" / "r").manifest["totals"]
    assert totals["requested"] == 90 == totals["kept"] + totals["failed"] + totals["rejected"]
    assert 0.33 < totals["cost_usd"] <= 0.36 * (1 + 1e-6)  # candidates hold it as float32
    assert server.stats.requests < 60
    verified = CliRunner().invoke(app, ["verify", str(config.parent / "runs" / "r")])
    assert verified.exit_code == 0, verified.output


def test_with_a_larger_budget_the_run_goes_on_and_says_so(config: Path, server: Any) -> None:
    short = run(config, "--set", "run.budget_usd=0.36")
    assert short.exit_code == 3, short.output
    assert "run id r with a larger one goes on" in short.output
    assert "--run-id r --set run.budget_usd=0." in short.output
    same = run(config, "--set", "run.budget_usd=0.36")
    assert same.exit_code == 3
    assert "finished already" in same.output
    less = run(config, "--set", "run.budget_usd=0.1")
    assert "run.budget_usd = 0.1 leaves nothing to ask for" in str(less.exception)
    done = run(config, "--set", "run.budget_usd=0.8")
    assert done.exit_code == 0, done.output
    assert "with more to spend" in done.output
    assert server.stats.requests == 60
    manifest = open_run(config.parent / "runs" / "r").manifest
    assert manifest["totals"]["cost_usd"] == pytest.approx(0.72)
    assert manifest["usage"]["a"]["requests"] == 60


def test_what_was_spent_before_a_kill_counts_after_it(config: Path, server: Any) -> None:
    log = UsageLog(config.parent / "runs" / "r" / layout.USAGE)
    asked = Request("p", "tr", "a", (("user", "selam"),), ())
    log.record(asked, [Completion(0, "merhaba", usage=Usage(1, 8, cost_usd=5.0))])
    log.close()
    done = run(config, "--set", "run.budget_usd=5")
    assert done.exit_code == 3, done.output
    assert server.stats.requests == 0
    assert open_run(config.parent / "runs" / "r").manifest["totals"]["failed"] == 90

"""Rewards with vLLM itself on the CPU: a judge, a student's likelihood, a reward model.

What a model of 135 million or of random weights says is worth nothing; that it is asked in a way
that vLLM understands, and read rightly, is what is tested.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_configs import TEXTS

from arbitrage.filters.base import Batch, Filter
from arbitrage.filters.judge import Judge
from arbitrage.filters.likelihood import Likelihood
from arbitrage.filters.reward_model import RewardModel

GIVEN = os.environ.get("ARBITRAGE_TEST_VLLM", "")
WEIGHTS = Path(GIVEN) / "weights"
CHAT, CLASSIFIER = WEIGHTS / "smollm2-135m", WEIGHTS / "tiny-reward"

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (GIVEN and CHAT.is_dir() and CLASSIFIER.is_dir()),
        reason="needs vLLM and its models in an environment of their own: run `make test-vllm`",
    ),
]


@contextmanager
def served(model: Path, log: Path) -> Iterator[str]:
    """A vLLM server of one model; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"{GIVEN}/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", "m", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--max-model-len", "1024", "--dtype", "float32"]
    command += ["--enforce-eager"]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 400
        while not _healthy(port):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(CHAT, tmp_path_factory.mktemp("chat") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(CLASSIFIER, tmp_path_factory.mktemp("classifier") / "log") as url:
        yield url


def build(plugin: type[Filter], url: str, **more: Any) -> Any:
    given = {"base_url": url, "model": "m", "timeout_s": 300, "concurrency": 4, **more}
    return plugin(plugin.Params.model_validate(given))


def in_ten_languages() -> Batch:
    """Each prompt is answered with itself."""
    texts = list(TEXTS.values())
    return Batch(texts, list(TEXTS), texts, same_prompt=list(range(len(texts))))


def test_the_likelihood_of_an_answer_by_its_own_tokens(chat: str) -> None:
    scorer = build(Likelihood, chat)
    scores = scorer.score(in_ten_languages())
    assert scores.labels["cause"] == [None] * len(TEXTS)
    assert (scores.measures["mean_logprob"] < 0).all()
    assert (scores.measures["tokens"] > 5).all()
    question = "What is the capital of France?"
    likely, odd = "The capital of France is Paris.", "Paris France capital is the of."
    pair = scorer.score(Batch([likely, odd], ["en"] * 2, [question] * 2))
    good, bad = pair.measures["mean_logprob"]
    assert good > bad
    # Tokens of the answer alone: the same under another prompt.
    other = scorer.score(Batch([likely], ["en"], ["Hello. " * 20]))
    assert other.measures["tokens"][0] == pair.measures["tokens"][0]
    assert scorer.try_out().startswith("answers at")
    plain = build(Likelihood, chat, api="completions").score(Batch([likely], ["en"], [question]))
    assert plain.labels["cause"] == [None]
    assert plain.measures["mean_logprob"][0] < 0
    scorer.close()


def test_an_answer_beyond_the_context_is_refused_and_no_other(chat: str) -> None:
    batch = Batch(["fine", "far too long " * 800], ["en"] * 2, ["Is it?"] * 2)
    for plugin in (Likelihood, Judge):
        scorer = build(plugin, chat, **({"reply_tokens": 8} if plugin is Judge else {}))
        assert scorer.score(batch).labels["cause"][1] == "refused"
        scorer.close()


@pytest.mark.parametrize("way", ["pointwise", "pairwise", "checklist"])
def test_a_judge_is_asked_and_what_it_says_is_a_score_or_a_cause(chat: str, way: str) -> None:
    texts = ["Paris.", "I do not know."]
    batch = Batch(texts, ["en"] * 2, ["What is the capital of France?"] * 2, same_prompt=[0, 0])
    scorer = build(Judge, chat, way=way, reply_tokens=24)
    scores = scorer.score(batch)
    known = {None, "unparsed", "partly_unparsed"}
    assert set(scores.labels["cause"]) <= known
    missing = np.isnan(scores.measures["score"])
    assert [cause == "unparsed" for cause in scores.labels["cause"]] == missing.tolist()
    assert scorer.asker.counts["answered"] == {"pointwise": 2, "pairwise": 2, "checklist": 1}[way]
    scorer.close()


def test_a_reward_model_gives_its_raw_number_by_both_endpoints(classifier: str) -> None:
    found = {}
    for api in ("classify", "pooling"):
        scorer = build(RewardModel, classifier, api=api)
        scores = scorer.score(in_ten_languages())
        assert scores.labels["cause"] == [None] * len(TEXTS)
        found[api] = scores.measures["score"]
        assert len(set(found[api].tolist())) > 1
        assert scorer.try_out().startswith("answers at")
        scorer.close()
    np.testing.assert_allclose(found["classify"], found["pooling"], rtol=1e-3, atol=1e-4)
    squashed = build(RewardModel, classifier, activation=True).score(in_ten_languages())
    sigmoid = 1 / (1 + np.exp(-found["classify"].astype(np.float64)))
    np.testing.assert_allclose(squashed.measures["score"], sigmoid, rtol=1e-2, atol=1e-3)
    texts = build(RewardModel, classifier, send="texts", batch=4).score(in_ten_languages())
    assert texts.labels["cause"] == [None] * len(TEXTS)

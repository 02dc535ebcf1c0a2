"""Whole configs against policies: what a form could try, and what each refusal says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config import RunConfig
from arbitrage.config.allowed import check_allowed, refusals
from arbitrage.config.implied import implied_policy
from arbitrage.config.policy import Policy, load_policy
from arbitrage.config.reached import reached
from arbitrage.errors import ConfigError, PolicyError

changed = importlib.import_module("run_configs").changed
DATA: dict[str, Any] = {
    "run": {"output": "runs"},
    "prompts": {"source": "data/prompts.parquet"},
    "teachers": [
        {
            "name": "a",
            "backend": "openai",
            "base_url": "http://teacher:8000/v1",
            "api_key_env": "TEACHER_KEY",
        }
    ],
}
POLICY = Policy(
    read=["data"],
    write=["runs"],
    servers={
        "http://teacher:8000": ["TEACHER_KEY"],
        "https://api.openai.com/v1": ["OPENAI_API_KEY"],
        "http://judge:9000/v1": [],
    },
)
ARTEFACT = {"kind": "learned", "artefact": "/srv/router"}
VLLM = {"name": "a", "backend": "vllm", "model": "org/model"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()


def refused(changes: dict[str, Any], policy: Policy = POLICY) -> list[str]:
    return list(refusals(policy, reached(RunConfig.model_validate(changed(DATA, changes)))))


def test_what_the_policy_lists_is_allowed() -> None:
    assert refused({}) == []
    assert refused({"prompts.source": "runs/earlier/prompts/part-00000.arrow"}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts.source": "/etc/passwd"}, 'prompts.source = "/etc/passwd" may not be read'),
        ({"prompts.source": ["data/a.csv", "../b.csv"]}, '"../b.csv" may not be read'),
        ({"run.output": "/srv"}, 'run.output = "/srv" may not be written to'),
        ({"run.output": "data"}, 'run.output = "data" may not be written to. Allowed: runs.'),
        ({"run.output": "s3://bucket/runs"}, "may not be written to"),
        ({"run.storage": {"endpoint_url": "http://169.254.169.254"}}, "may not be asked"),
        ({"run.storage": {"profile": "admin"}}, "run.storage.profile"),
        ({"run.storage": {"secret_block": "other-team"}}, "run.storage.secret_block"),
        ({"run.storage": {"work_folder": "/srv/cache"}}, "run.storage.work_folder"),
        ({"teachers.0.base_url": "http://169.254.169.254/v1"}, "teachers.a.base_url"),
        (
            {"teachers.0.base_url": None, "teachers.0.base_urls": ["http://evil.example/v1"]},
            "teachers.a.base_urls",
        ),
        (
            {"teachers.0.api_key_env": "AWS_SECRET_ACCESS_KEY"},
            "may not be sent the value of AWS_SECRET_ACCESS_KEY. Allowed: TEACHER_KEY.",
        ),
        (
            {"teachers.0.api_key_env": "OPENAI_API_KEY"},
            "may not be sent the value of OPENAI_API_KEY",
        ),
        (
            {"teachers.0.provider": "gemini", "teachers.0.base_url": None},
            "generativelanguage.googleapis.com",
        ),
        (
            {"teachers": [{"name": "a", "backend": "openai", "provider": "cohere"}]},
            "teachers.a.base_url",
        ),
        ({"teachers": [VLLM]}, 'teachers.a.command = ["vllm", "serve"] may not be started'),
        ({"teachers": [VLLM]}, 'teachers.a.model = "org/model" may not be loaded'),
        (
            {"teachers": [{**VLLM, "log_folder": "/srv/log"}]},
            'teachers.a.log_folder = "/srv/log" may not be written to',
        ),
        (
            {"teachers": [{"name": "a", "backend": "local", "model": "/srv/model.gguf"}]},
            "teachers.a.model",
        ),
        (
            {"teachers": [{"name": "a", "backend": "replay", "recordings": "/srv/*.parquet"}]},
            "teachers.a.recordings",
        ),
        ({"router": ARTEFACT}, "router.artefact"),
        ({"calibrate": {"artefact": "/srv/router"}}, "calibrate.artefact"),
        ({"filters.language_id": {"model": "/etc/shadow"}}, "filters.language_id.model"),
        ({"filters.language_confusion": {"english_words": "/etc/shadow"}}, "english_words"),
        ({"filters.near_duplicate": {"runs": ["/srv/runs/other"]}}, "filters.near_duplicate.runs"),
        ({"filters.toxicity": {"scorer": "detoxify", "checkpoint": "/a.ckpt"}}, "checkpoint"),
        (
            {"filters.judge": {"base_url": "http://evil.example", "model": "m"}},
            'filters.judge.base_url = "http://evil.example" may not be asked',
        ),
        (
            {
                "filters.judge": {
                    "base_url": "http://judge:9000/v1",
                    "model": "m",
                    "api_key_env": "PREFECT_API_AUTH_STRING",
                }
            },
            "may not be sent the value of PREFECT_API_AUTH_STRING. Allowed: none.",
        ),
        (
            {
                "filters.judge": {
                    "base_url": "http://judge:9000/v1",
                    "model": "m",
                    "templates": "/etc",
                }
            },
            "filters.judge.templates",
        ),
    ],
)
def test_each_way_out_is_refused_with_its_key_and_value(changes: dict[str, Any], said: str) -> None:
    found = refused(changes)
    assert any(said in line for line in found), found


def test_the_embedder_that_an_artefacts_card_names_is_judged_too(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "router"
    folder.mkdir()
    params = {"kind": "endpoint", "base_url": "http://evil.example/v1", "model": "m"}
    params |= {"api_key_env": "AWS_SECRET_ACCESS_KEY"}
    card = {"format": 1, "kind": "learned", "version": 2, "features": "", "teachers": ["a"]}
    card |= {"sha256": "0" * 64, "settings": {"embedding": {"params": params, "identity": "x"}}}
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    (line,) = refused({"router": {"kind": "learned", "artefact": "data/router"}})
    assert line.startswith("router.artefact/card.json embedding.base_url")
    assert "may not be asked" in line
    params["base_url"] = "http://judge:9000/v1"
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    (line,) = refused({"router": {"kind": "learned", "artefact": "data/router"}})
    assert "AWS_SECRET_ACCESS_KEY" in line


def test_all_refusals_come_in_one_error_that_says_how_to_go_on() -> None:
    config = RunConfig.model_validate(
        changed(DATA, {"prompts.source": "/etc/passwd", "run.output": "/srv"})
    )
    with pytest.raises(PolicyError) as error:
        check_allowed(POLICY, reached(config), 'the policy "p.toml"')
    text = str(error.value)
    assert text.startswith('the policy "p.toml" does not allow')
    assert "/etc/passwd" in text
    assert "/srv" in text
    assert "docs/operations.md" in text


def vllm(**keys: Any) -> list[str]:
    policy = POLICY.model_copy(
        update={
            "commands": [["vllm", "serve"]],
            "models": ["org/model", "./data"],
            "environment": ["HF_TOKEN", "CUDA_VISIBLE_DEVICES"],
            "arguments": [*Policy().arguments, "--chat-template=/srv/chat.jinja"],
        }
    )
    return refused({"teachers": [{**VLLM, **keys}]}, policy)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"arguments": ["--max-model-len", "8192", "--dtype=bfloat16"]},
        {"serving_arguments": ["--enable-prefix-caching", "--seed", "-1"]},
        {"arguments": ["--chat-template=/srv/chat.jinja"]},
        {"environment": {"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "$HF_TOKEN"}},
        {"api_key_env": "HF_TOKEN"},
        {"model": "data/model"},
    ],
)
def test_a_listed_command_with_listed_arguments_may_start(keys: dict[str, Any]) -> None:
    assert vllm(**keys) == []


@pytest.mark.parametrize(
    "keys",
    [
        {"command": ["sh", "-c", "id"]},
        {"command": ["/tmp/vllm", "serve"]},
        {"command": ["vllm", "serve", "--trust-remote-code"]},
        {"arguments": ["--trust-remote-code"]},
        {"arguments": ["--tool-parser-plugin", "evil.py"]},
        {"arguments": ["--chat-template=/etc/shadow"]},
        {"arguments": ["--chat-template", "/etc/shadow"]},
        {"arguments": ["--dtype", "auto", "other/model"]},
        {"arguments": ["--dtype", "/etc/shadow"]},
        {"arguments": ["--max-model-le", "1"]},
        {"arguments": ["evil"]},
        {"serving_arguments": ["--middleware=os.system"]},
        {"environment": {"LD_PRELOAD": "/tmp/evil.so"}},
        {"environment": {"HF_TOKEN": "$AWS_SECRET_ACCESS_KEY"}},
        {"api_key_env": "AWS_SECRET_ACCESS_KEY"},
        {"model": "other/model"},
        {"model": "../model"},
        {"model": "/srv/model"},
    ],
)
def test_anything_else_of_a_listed_command_may_not(keys: dict[str, Any]) -> None:
    assert vllm(**keys)


def test_without_a_policy_the_deployments_own_things_are_allowed_and_no_others() -> None:
    data = changed(DATA, {"prompts.source": "data/{day}/*.parquet"})
    own = implied_policy(reached(RunConfig.model_validate(data)))
    for source in ("data/2026-11-21/*.parquet", "data/2026-11-22/a.parquet"):
        assert refused({"prompts.source": source}, own) == []
    assert refused({"run.samples": 4, "run.output": "runs/deeper"}, own) == []
    assert refused({"prompts.source": "other/a.parquet"}, own)
    assert refused({"teachers.0.base_url": "http://teacher:8001/v1"}, own)
    assert refused({"teachers.0.api_key_env": "OTHER_KEY"}, own)
    assert refused({"run.output": "elsewhere"}, own)


def test_a_wrong_policy_file_is_an_error_and_never_an_empty_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    with pytest.raises(ConfigError, match=r"policy\.toml.*cannot be read"):
        load_policy(file)
    for text in ('raed = ["data"]', 'read = ["~/data"]', '[servers]\n"teacher:8000" = []', "["):
        file.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=r"policy\.toml"):
            load_policy(file)

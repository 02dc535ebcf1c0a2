"""Secrets planted in a run's environment are nowhere in anything the run leaves.

One child process, its own Prefect home and server, logging at DEBUG; real sockets: teachers that
answer, repeat their key in answers and refusals, hang or break off; a reward server and an object
store that repeat what they were sent. Every file is searched, compressed ones decompressed.
"""

from __future__ import annotations

import base64
import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from arbitrage.infra.store.frames import read_segment
from arbitrage.secrets import spellings

SECRETS = {
    # Not named like a secret, and with characters that JSON and URLs write otherwise.
    "SESAME": "planted/teacher+key=1",
    "JUDGE_API_KEY": "planted-judge-key",
    "AWS_SECRET_ACCESS_KEY": "planted/store/secret",
    "AWS_SESSION_TOKEN": "planted-session-token",
    "PREFECT_API_AUTH_STRING": "admin:planted-prefect",
    "HF_TOKEN": "hf_plantedhubtoken",
}
CHILD = """
import json, logging, os, sys, traceback
from arbitrage.flows.settings import prepare_prefect
prepare_prefect()
from arbitrage.config import parse_config
from arbitrage.flows.distill import distill
from arbitrage.flows.server import prefect_api
with prefect_api():
    for name, data in json.load(open(sys.argv[1])).items():
        print("BEGIN", name, flush=True)
        try:
            print("END", distill(parse_config(data), run_id=name))
        except Exception:
            traceback.print_exc()
            print("RAISED", name, flush=True)
try:
    raise OSError(f"a library repeats {os.environ['AWS_SECRET_ACCESS_KEY']}")
except OSError:
    logging.getLogger("arbitrage").exception("as %s did", os.environ["HF_TOKEN"])
"""


class Store(BaseHTTPRequestHandler):
    """An object store that refuses everything and repeats the token it was sent."""

    def do_GET(self) -> None:
        token = self.headers.get("X-Amz-Security-Token", "none")
        said = f"<Error><Code>AccessDenied</Code><Message>bad token {token}</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which everything is that the child's runs left, its output included."""
    stand_in, rewards = (importlib.import_module(n) for n in ("stand_in_server", "reward_server"))
    run_configs = importlib.import_module("run_configs")
    folder = tmp_path_factory.mktemp("planted")
    store = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=store.serve_forever, args=(0.02,), daemon=True).start()
    modes = ("none", "unauthorized", "parrot", "hang", "malformed")
    teachers = {
        mode: stand_in.StandIn(stand_in.Behaviour(mode=mode, models=["stand-in"])) for mode in modes
    }
    judge, careless = rewards.RewardServer(), rewards.RewardServer()
    careless.fault = "echo_key"
    with judge, careless:
        for server in teachers.values():
            server.__enter__()
        configs = {}
        for mode, server in teachers.items():
            data = run_configs.served_data(folder, server.base_url, prompts=10, name=mode)
            data["teachers"][0] |= {"api_key_env": "SESAME", "timeout_s": 0.5, "max_retries": 1}
            data["teachers"][0] |= {"dead_after_s": 0.5}
            data["filters"]["reward_model"] = reward(judge)
            configs[mode] = data
        fine = configs["none"]
        configs["careless_judge"] = run_configs.changed(
            fine, {"filters.reward_model": reward(careless)}
        )
        storage = {"endpoint_url": f"http://127.0.0.1:{store.server_port}", "give_up_s": 1.0}
        configs["store"] = run_configs.changed(
            fine, {"run.output": "s3://bucket/runs", "run.storage": storage}
        )
        try:
            done = run_child(folder, configs)
        finally:
            for server in teachers.values():
                server.__exit__(None, None, None)
            store.shutdown()
            store.server_close()
    print(done.stdout[-4000:], done.stderr[-4000:])
    assert any(f"Bearer {SECRETS['JUDGE_API_KEY']}" == key for key in judge.keys)
    return folder


def reward(server: Any) -> dict[str, Any]:
    return {
        "base_url": server.base_url,
        "model": "m",
        "api_key_env": "JUDGE_API_KEY",
        "patience": 2,
        "retries": 0,
    }


def run_child(folder: Path, configs: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "configs.json").write_bytes(orjson.dumps(configs))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
        **SECRETS,
        "AWS_ACCESS_KEY_ID": "someone",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "arbitrage,aiohttp",
    }
    command = [sys.executable, "-c", CHILD, str(folder / "configs.json")]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=570, check=False
    )
    (folder / "stdout.txt").write_text(done.stdout, "utf-8")
    (folder / "stderr.txt").write_text(done.stderr, "utf-8")
    return done


def test_every_run_went_as_meant(left: Path) -> None:
    said = (left / "stdout.txt").read_text("utf-8")
    assert said.count("BEGIN") == 7, said
    for name in ("none", "parrot"):
        assert f"/runs/{name}\n" in said
    for name in ("unauthorized", "hang", "careless_judge", "store"):
        assert f"RAISED {name}" in said
    errors = (left / "stderr.txt").read_text("utf-8")
    assert "Incorrect API key: authorization: Bearer [" in errors.replace(
        "Authorization", "authorization"
    )
    assert "bad token [AWS_SESSION_TOKEN]" in errors
    assert "as [HF_TOKEN] did" in errors
    assert "OSError: a library repeats [AWS_SECRET_ACCESS_KEY]" in errors
    assert (left / "prefect" / "prefect.db").stat().st_size > 0


def test_no_planted_secret_is_in_anything_that_was_left(left: Path) -> None:
    found = [
        f"{name} in {file.relative_to(left)}"
        for file in sorted(left.rglob("*"))
        if file.is_file()
        for text in contents(file)
        for name, secret in SECRETS.items()
        if any(form in text for form in forms(secret))
    ]
    assert found == []


def test_the_search_would_find_a_secret_in_each_kind_of_file(tmp_path: Path) -> None:
    table = pa.table({"text": [f"so {SECRETS['SESAME']} it is"] * 50})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema, options=options) as writer:
        writer.write_table(table)
    (tmp_path / "b.json").write_bytes(base64.b64encode(b"xy" + SECRETS["SESAME"].encode() + b"z"))
    for name in ("a.arrow", "b.json"):
        texts = list(contents(tmp_path / name))
        assert any(form in text for text in texts for form in forms(SECRETS["SESAME"])), name


def forms(secret: str) -> list[bytes]:
    """A secret as it is, as JSON and URLs write it, and in base64 at each of its three places."""
    plain = [spelling.encode() for spelling in spellings(secret)]
    inside = []
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + secret.encode())
        start, end = -(-shift * 4 // 3) + (shift > 0), len(coded) - 4
        inside.append(coded[start:end])
    return [*plain, *inside]


def contents(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and the rows in it where it is an Arrow file or a journal."""
    yield file.read_bytes()
    for opened in (pa.ipc.open_file, pa.ipc.open_stream):
        try:
            with pa.memory_map(str(file)) as source:
                yield repr(opened(source).read_all().to_pylist()).encode()
        except (pa.ArrowException, OSError, ValueError):
            pass
    if "journal" in file.parts:
        yield repr([batch.to_pylist() for batch in read_segment(file)]).encode()

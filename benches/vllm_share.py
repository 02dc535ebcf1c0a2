"""The same requests to a real vLLM server from a bare asyncio loop and from ours, journal on.

Target: ours needs at most 1/0.97 of the bare loop's time, median of the pairs. Bare and ours take
turns, the first of each pair changing; both send the same bytes (prompts, seeds, sampling) in the
same order with the same number in flight, and every answer has exactly --tokens tokens, so that
the server's work is the same. Bare keeps the answers in a list; ours records each in the journal,
fsynced, and its time begins before its connections are opened. One pair to warm up is not counted.

Times move with whatever else the machine does. `in flight` does not: the mean number of requests
that the server, asked each half second, says it has in work or waiting while a client is on the
clock; what a client leaves of the slots it may fill is the server's idle time.

Attach to a server, or have one started on this machine and stopped (`make vllm` makes both):

    python benches/vllm_share.py --base-url http://localhost:8000/v1 --model NAME
    python benches/vllm_share.py --vllm .venv-vllm --model .venv-vllm/weights/smollm2-135m
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import aiohttp
import measured
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import servers
import synthetic

from arbitrage.config import RunConfig
from arbitrage.infra.generation.requests import plan_requests
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.infra.teachers.chat_wire import chat_body
from arbitrage.tasks.generate import generate_candidates, open_teachers
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.route import route_prompts

SERVER = ("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1")
# One thread and float32: five times bf16's tokens a second on a busy CPU without bf16 arithmetic.
CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
READY_WITHIN_S = 600
IN_FLIGHT = re.compile(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", re.MULTILINE)
LONGEST_PROMPT = 100  # characters; a token each and more for small models in many scripts


@dataclass(frozen=True, slots=True)
class Took:
    """One run: seconds on the clock, answers, the tokens they have by the server's count, and how
    many requests the server had at a time."""

    seconds: float
    answers: int
    tokens: int
    in_flight: float = math.nan


def config_of(given: argparse.Namespace, folder: Path) -> RunConfig:
    """One shard, so that both clients send in one order; `ignore_eos` fixes every length."""
    teacher: dict[str, Any] = {
        "name": "served",
        "backend": "vllm",
        "model": given.model,
        "base_url": given.base_url,
        "max_concurrency": given.concurrency,
        "timeout_s": 3600,
        "sampling": {"temperature": 0.8, "max_tokens": given.tokens, "logprobs": True},
        "extra_body": {"ignore_eos": True},
    }
    data = {
        "run": {"name": "share", "output": str(folder / "runs"), "samples": given.samples},
        "prompts": {"source": str(folder / "prompts.parquet")},
        "teachers": [teacher],
        "views": {},
    }
    return RunConfig.model_validate(data)


def write_prompts(path: Path, count: int) -> None:
    """Short recorded prompts in 15 languages, over and over with new ids."""
    short = [row for row in synthetic.Corpus().prompts if len(row["prompt"]) <= LONGEST_PROMPT]
    rows = [{**short[i % len(short)], "prompt_id": synthetic.prompt_id(i)} for i in range(count)]
    pq.write_table(pa.Table.from_pylist(rows, synthetic.PROMPTS), path)


@contextmanager
def routed(config: RunConfig) -> Iterator[Any]:
    """A new run folder, as far as before the first request."""
    opened = open_run_folder(config, new=True)
    with closing(opened):
        uri = str(opened.path)
        assert load_prompts.fn(uri) == 1
        route_prompts(uri, 0)
        yield opened


def ours(config: RunConfig) -> Took:
    with routed(config) as opened:
        uri = str(opened.path)
        with asked_meanwhile(config) as counts:
            start = time.perf_counter()
            with open_teachers(uri):
                generate_candidates(uri, 0)
            seconds = time.perf_counter() - start
        table = opened.run.generated(0)
        tokens = sum(filter(None, table.column("completion_tokens").to_pylist()))
        return Took(seconds, table.column("error").null_count, tokens, _mean(counts))


def bare(config: RunConfig) -> Took:
    teacher = config.teachers[0]
    with routed(config) as opened:
        run = opened.run
        requests = plan_requests(run.prompts(0), run.routes(0), run.config, set())
    sampling, extra = teacher.sampling.given(), {"ignore_eos": True}
    bodies = [chat_body(one, teacher.model or "", sampling | extra) for one in requests]
    with asked_meanwhile(config) as counts:
        took = asyncio.run(_bare(f"{teacher.base_url}/chat/completions", bodies, config))
    return replace(took, in_flight=_mean(counts))


async def _bare(url: str, bodies: list[bytes], config: RunConfig) -> Took:
    waiting = iter(bodies)
    answers: list[dict[str, Any]] = []
    headers = {"Content-Type": "application/json"}

    async def slot(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            async with session.post(url, data=body, headers=headers) as response:
                response.raise_for_status()
                answers.append(orjson.loads(await response.read()))

    start = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(slot(session) for _ in range(config.teachers[0].max_concurrency)))
    seconds = time.perf_counter() - start
    choices = sum(len(one["choices"]) for one in answers)
    return Took(seconds, choices, sum(one["usage"]["completion_tokens"] for one in answers))


@contextmanager
def asked_meanwhile(config: RunConfig) -> Iterator[list[float]]:
    """What the server says each half second of the requests it has."""
    url = f"{str(config.teachers[0].base_url).removesuffix('/v1')}/metrics"
    counts: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.5):
            with urllib.request.urlopen(url, timeout=60) as reply:
                counts.append(sum(map(float, IN_FLIGHT.findall(reply.read().decode()))))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()


def _mean(counts: list[float]) -> float:
    return mean(counts) if counts else math.nan


@contextmanager
def started(environment: Path, model: str) -> Iterator[str]:
    """A server of our own on the CPU; its address. Its whole group is killed in the end."""
    port = servers.free_port()
    command = [str(environment / "bin" / "python"), *SERVER, "--port", str(port), "--model", model]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"]
    command += ["--no-enable-prefix-caching"]
    with tempfile.NamedTemporaryFile(prefix="bench-vllm-", suffix=".log") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **CPU, **QUIET},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            servers.wait_for(f"http://127.0.0.1:{port}/health", process, READY_WITHIN_S)
        except RuntimeError as error:
            servers.end_group(process)
            sys.exit(f"{error}\n{Path(log.name).read_text(errors='replace')[-3000:]}")
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            servers.end_group(process)


def pairs(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    clients = {"bare": bare, "ours": ours}
    expected = given.requests * given.samples
    for repeat in range(given.repeats + 1):
        names = ("bare", "ours") if repeat % 2 else ("ours", "bare")
        took: dict[str, Took] = {}
        with tempfile.TemporaryDirectory(prefix="bench-share-") as name:
            folder = Path(name)
            write_prompts(folder / "prompts.parquet", given.requests)
            for client in names:
                took[client] = clients[client](config_of(given, folder))
                print(f"pair {repeat}: {client} {took[client].seconds:.1f} s", file=sys.stderr)
        for client, one in took.items():
            if (one.answers, one.tokens) != (expected, expected * given.tokens):
                sys.exit(f"{client} got {one.answers} answers with {one.tokens} tokens")
        if repeat:  # the first pair warmed up
            yield {
                "pair": repeat,
                "first": names[0],
                "bare s": took["bare"].seconds,
                "ours s": took["ours"].seconds,
                "bare tokens/s": took["bare"].tokens / took["bare"].seconds,
                "ours tokens/s": took["ours"].tokens / took["ours"].seconds,
                "bare in flight": took["bare"].in_flight,
                "ours in flight": took["ours"].in_flight,
                "share": took["bare"].seconds / took["ours"].seconds,
            }


def main() -> None:
    parser = measured.parser(__doc__)
    parser.add_argument("--base-url", help="of a running server, with /v1")
    parser.add_argument("--vllm", type=Path, help="environment with vLLM, to start one on the CPU")
    parser.add_argument("--model", required=True, help="as it is served, or the folder to serve")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--samples", type=int, default=1, help="answers a request (n)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens an answer")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if (given.base_url is None) == (given.vllm is None):
        parser.error("give --base-url or --vllm")
    if given.quick:
        given.requests, given.tokens, given.repeats = 16, 8, 1
    where = measured.machine()
    if given.base_url:
        rows = list(pairs(given))
    else:
        with started(given.vllm, given.model) as given.base_url:
            rows = list(pairs(given))
    shares = [row["share"] for row in rows]
    figures = {
        "share of the bare loop, median (target >= 0.97)": round(median(shares), 4),
        "lowest and highest": f"{min(shares):.3f} to {max(shares):.3f}",
        "share of the bare loop's requests in flight": round(
            sum(row["ours in flight"] for row in rows) / sum(row["bare in flight"] for row in rows),
            4,
        ),
        "requests, samples, tokens, in flight": (
            f"{given.requests}, {given.samples}, {given.tokens}, {given.concurrency}"
        ),
    }
    measured.show(where, rows, figures, as_json=given.json)


if __name__ == "__main__":
    main()

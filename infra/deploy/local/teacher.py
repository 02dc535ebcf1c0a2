"""A stand-in teacher: an OpenAI-compatible server that answers with recorded completions.

    python -m arbitrage.infra.deploy.local.teacher --teacher mixtral \\
        --prompts prompts.parquet --recordings recordings.parquet --port 8001

A chat is known by its last message. One that was never recorded gets a sentence that says so, so
that prompts of one's own can be tried. POST /notify appends what it is sent to --notified, for
automations to be seen at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from aiohttp import web

_UNKNOWN = "This stand-in teacher has no recorded answer to that."


def read_answers(prompts: Path, recordings: Path, teacher: str) -> dict[str, list[str]]:
    """Prompt text -> what the teacher is recorded to have said, in the order of its samples."""
    asked = {
        row["prompt_id"]: row["prompt"]
        for row in pq.read_table(prompts, columns=["prompt_id", "prompt"]).to_pylist()
    }
    columns = ["prompt_id", "teacher", "completion"]
    said: dict[str, list[str]] = {}
    for row in pq.read_table(recordings, columns=columns).to_pylist():
        if row["teacher"] == teacher and row["completion"] is not None:
            said.setdefault(asked[row["prompt_id"]], []).append(row["completion"])
    return said


def application(
    teacher: str, answers: dict[str, list[str]], *, latency_s: float, notified: Path | None
) -> web.Application:
    """The server; every answer takes `latency_s`."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": teacher, "object": "model"}]})

    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        await asyncio.sleep(latency_s)
        return web.json_response(answer(teacher, asked, answers))

    async def notify(request: web.Request) -> web.Response:
        if notified is None:
            return web.json_response({"error": "started without --notified"}, status=404)
        line = json.dumps(await request.json(), ensure_ascii=False)
        with notified.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/notify", notify)
    return app


def answer(teacher: str, asked: dict[str, Any], answers: dict[str, list[str]]) -> dict[str, Any]:
    """The body of one chat completion; words stand in for tokens.

    >>> body = answer("a", {"messages": [{"content": "Hi"}]}, {"Hi": ["Good day"]})
    >>> body["choices"][0]["message"]["content"], body["usage"]["completion_tokens"]
    ('Good day', 2)
    """
    prompt = str(asked["messages"][-1]["content"])
    known = answers.get(prompt, [_UNKNOWN])
    texts = [known[index % len(known)] for index in range(int(asked.get("n") or 1))]
    used = {
        "prompt_tokens": len(prompt.split()),
        "completion_tokens": sum(len(text.split()) for text in texts),
    }
    return {
        "id": "chatcmpl-recorded",
        "object": "chat.completion",
        "created": 0,
        "model": asked.get("model") or teacher,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            for index, text in enumerate(texts)
        ],
        "usage": {**used, "total_tokens": sum(used.values())},
    }


def main() -> None:
    """Serve on loopback until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", required=True, help="its name in the recordings")
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--notified", type=Path)
    given = parser.parse_args()
    answers = read_answers(given.prompts, given.recordings, given.teacher)
    app = application(
        given.teacher, answers, latency_s=given.latency_ms / 1000, notified=given.notified
    )
    web.run_app(app, host="127.0.0.1", port=given.port, print=None, access_log=None)


if __name__ == "__main__":
    main()

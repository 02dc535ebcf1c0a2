"""A stand-in OpenAI-compatible server on real sockets: deterministic answers, counts, faults.

In a test: `with StandIn(Behaviour(latency_s=0.2)) as server: ... server.base_url, server.stats`.
As a program: `python tests/stand_in_server.py --port 0 --latency-ms 200 --count-file F` prints its
base URL as the first line. GET /stats gives the counts, POST /behaviour changes fields of it.

An answer is a function of (messages, seed, choice index) written with the prompt's own words, so it
is in the prompt's script. A hand-written protocol on asyncio: several thousand requests/s a core.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import xxhash
from stand_in_behaviour import MODES, Behaviour, Stats, answer_text, bend

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class _Connection(asyncio.Protocol):
    """One client connection: HTTP/1.1 with keep-alive, Content-Length bodies, no pipelining."""

    def __init__(self, server: StandIn) -> None:
        self.server = server
        self.buffer = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(transport)
        self.server.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end])
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = bytes(self.buffer[end + 4 : end + 4 + length])
            del self.buffer[: end + 4 + length]
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            self.server.handle(self, method, path, head, body)

    def reply(
        self, status: int, body: bytes, kind: str = "application/json", more: str = ""
    ) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            self.transport.write(f"{head}{more}\r\n".encode() + body)


class StandIn:
    """The server, in a thread of its own between `__enter__` and `__exit__`."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        count_file: str | Path | None = None,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.stats = Stats()
        self.connections: set[asyncio.Transport] = set()
        self.host, self.port = host, port
        self._count_file = count_file
        self._counts: BinaryIO | None = None
        self._queue: deque[Callable[[], None]] = deque()
        self._working = 0
        self._loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def start(self) -> None:
        """Listen, on the running loop."""
        self._loop = asyncio.get_running_loop()
        if self._count_file is not None:
            self._counts = open(self._count_file, "ab", buffering=0)  # noqa: SIM115
        self._server = await self._loop.create_server(
            lambda: _Connection(self), self.host, self.port, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Stop listening and drop every connection: what a client sees when a server dies."""
        self._server.close()
        for transport in list(self.connections):
            transport.abort()
        await asyncio.sleep(0)
        if self._counts is not None:
            self._counts.close()

    def __enter__(self) -> StandIn:
        ready = threading.Event()
        loop = asyncio.new_event_loop()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(self.start())
            ready.set()
            loop.run_forever()
            loop.run_until_complete(self.shut())
            loop.close()

        self._thread = threading.Thread(target=serve, name="stand-in", daemon=True)
        self._thread.start()
        assert ready.wait(120), "the stand-in server did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(120)

    # One request

    def handle(
        self, connection: _Connection, method: bytes, path: bytes, head: bytes, body: bytes
    ) -> None:
        if path.endswith(b"/chat/completions") and method == b"POST":
            self._complete(connection, head, body)
        elif path.endswith(b"/models"):
            listed = [{"id": name, "object": "model"} for name in self.behaviour.models]
            if self.behaviour.mode == "unauthorized":
                self._unauthorized(connection, head)
            else:
                connection.reply(200, orjson.dumps({"object": "list", "data": listed}))
        elif path == b"/stats":
            # orjson reads the dataclass itself; `asdict` spoils a Counter before Python 3.12.
            connection.reply(200, orjson.dumps(self.stats))
        elif path == b"/behaviour" and method == b"POST":
            known = {item.name for item in fields(Behaviour)}
            for name, value in orjson.loads(body).items():
                assert name in known, name
                setattr(self.behaviour, name, value)
            connection.reply(200, b"{}")
        else:
            connection.reply(404, b'{"detail":"Not Found"}')

    def _complete(self, connection: _Connection, head: bytes, body: bytes) -> None:
        stats, behaviour = self.stats, self.behaviour
        key = xxhash.xxh3_64_hexdigest(body)
        stats.bodies[key] += 1
        stats.requests += 1
        stats.in_flight += 1
        stats.peak = max(stats.peak, stats.in_flight)
        if self._counts is not None:
            self._counts.write(key.encode() + b"\n")
        faulty = (
            behaviour.mode != "none"
            and (behaviour.first is None or stats.requests <= behaviour.first)
            and (behaviour.first_of_each is None or stats.bodies[key] <= behaviour.first_of_each)
        )
        if behaviour.holds_after is not None and stats.requests > behaviour.holds_after:
            stats.in_flight -= 1
            return
        asked = orjson.loads(body)
        if behaviour.keeps:
            stats.kept = [*stats.kept, asked][-behaviour.keeps :]
        tokens = min(behaviour.tokens, asked.get("max_tokens") or behaviour.tokens)
        delay = behaviour.latency_s + behaviour.token_s * tokens

        def finish() -> None:
            stats.in_flight -= 1
            self._working -= 1
            if faulty:
                stats.faults += 1
                self._fault(connection, behaviour.mode, asked, tokens, head)
            else:
                connection.reply(200, orjson.dumps(self._answer(asked, tokens)))
            if self._queue:
                self._queue.popleft()()

        def begin() -> None:
            self._working += 1
            if delay:
                self._loop.call_later(delay, finish)
            else:
                finish()

        if behaviour.batch is not None and self._working >= behaviour.batch:
            self._queue.append(begin)
        else:
            begin()

    def _answer(self, asked: dict[str, Any], tokens: int) -> dict[str, Any]:
        n = 1 if self.behaviour.ignores_n else int(asked.get("n") or 1)
        seed = int(asked.get("seed") or 0)
        choices: list[dict[str, Any]] = []
        for index in range(n):
            text = answer_text(asked["messages"], seed, index, tokens)
            choice: dict[str, Any] = {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            if asked.get("logprobs"):
                content = [{"token": "x", "logprob": -0.25} for _ in range(tokens)]
                choice["logprobs"] = {"content": content}
            choices.append(choice)
        prompt_tokens = sum(len(str(m.get("content"))) for m in asked["messages"])
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": asked.get("model"),
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": tokens * n,
                "total_tokens": prompt_tokens + tokens * n,
            },
        }

    # Faults

    def _fault(  # noqa: PLR0912
        self, connection: _Connection, mode: str, asked: dict[str, Any], tokens: int, head: bytes
    ) -> None:
        after = self.behaviour.retry_after
        more = f"Retry-After: {after}\r\n" if after is not None else ""
        answer = self._answer(asked, tokens)
        if mode in {"rate_limit", "server_error"}:
            status = 429 if mode == "rate_limit" else 500
            connection.reply(status, b'{"error":{"message":"busy","type":"x"}}', more=more)
        elif mode == "unauthorized":
            self._unauthorized(connection, head)
        elif mode == "parrot":
            for choice in answer["choices"]:
                choice["message"]["content"] = f"You sent me {_authorization(head)}, thank you."
            answer["model"] = _authorization(head)
            connection.reply(200, orjson.dumps(answer).replace(b"/", b"\\/"))
        elif mode == "too_long":
            text = "This model's maximum context length is 16 tokens. You requested 99 tokens."
            connection.reply(400, orjson.dumps({"error": {"message": text, "code": 400}}))
        elif mode == "hang":
            pass
        elif mode == "drip":
            connection.transport.write(_OK + b"Content-Length: 9999\r\n\r\n")
            self._drip(connection)
        elif mode == "reset":
            head_only = _OK + b"Content-Length: 9999\r\n\r\n{"
            connection.transport.write(head_only)
            self._loop.call_later(0.01, connection.transport.abort)
        elif mode == "malformed":
            connection.reply(200, orjson.dumps(answer)[:-20])
        elif mode == "wrong_content_type":
            connection.reply(200, b"<html>Please wait</html>", kind="text/html")
        elif mode == "huge":
            connection.transport.write(_OK + b"Transfer-Encoding: chunked\r\n\r\n")
            self._pour(connection, self.behaviour.huge_bytes)
        elif mode == "surrogates":
            body = orjson.dumps(answer)
            connection.reply(200, body.replace(b'"content":"', b'"content":"\\ud800'))
        elif mode == "nan_logprobs":
            for choice in answer["choices"]:
                choice["logprobs"] = {"content": [{"token": "x", "logprob": "@"}]}
            connection.reply(200, orjson.dumps(answer).replace(b'"@"', b"NaN"))
        else:
            connection.reply(200, orjson.dumps(bend(answer, mode)))

    def _unauthorized(self, connection: _Connection, head: bytes) -> None:
        """Echo the Authorization header, as careless servers do."""
        shown = _authorization(head)
        connection.reply(401, orjson.dumps({"error": {"message": f"Incorrect API key: {shown}"}}))

    def _drip(self, connection: _Connection) -> None:
        if not connection.transport.is_closing():
            connection.transport.write(b" ")
            self._loop.call_later(0.05, self._drip, connection)

    def _pour(self, connection: _Connection, left: int) -> None:
        if connection.transport.is_closing():
            return
        if left <= 0:
            connection.transport.write(b"0\r\n\r\n")
            return
        connection.transport.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        self._loop.call_soon(self._pour, connection, left - 65536)


def _authorization(head: bytes) -> str:
    at = head.lower().find(b"authorization:")
    return head[at:].split(b"\r\n", 1)[0].decode() if at >= 0 else "no key"


async def _serve(arguments: argparse.Namespace) -> None:
    behaviour = Behaviour(
        latency_s=arguments.latency_ms / 1000,
        token_s=arguments.token_ms / 1000,
        batch=arguments.batch,
        tokens=arguments.tokens,
        mode=arguments.mode,
        models=arguments.models.split(","),
    )
    server = StandIn(behaviour, port=arguments.port, count_file=arguments.count_file)
    await server.start()
    print(server.base_url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--token-ms", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--mode", choices=MODES, default="none")
    parser.add_argument("--models", default="stand-in", help="comma-separated")
    parser.add_argument("--count-file")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

"""A stand-in for what rewards ask, on a real socket: a judge, a reward model and a student.

`with RewardServer() as server:` serves at `server.base_url`. What it says is decided by the answer
it is asked about alone: more words are better, up to ten. Faults on request, by mode.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import orjson

_FENCED = re.compile(r"\[answer(?: \w+)? ([0-9a-f]{16}) begins\]\n(.*?)\n\[answer", re.DOTALL)
# What is said instead of a good answer: status, headers and body.
FAULTS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "busy": (429, {"Retry-After": "0"}, b'{"error":"busy"}'),
    "broken": (500, {"Retry-After": "0"}, b'{"error":"broken"}'),
    "too_long": (400, {}, b'{"error":"maximum context length is 16 tokens"}'),
    "html": (200, {}, b"<html>Please wait</html>"),
    "nan": (200, {}, b'{"data":[{"index":0,"probs":[NaN]}],"choices":[{"message":NaN}]}'),
    "null": (200, {}, b'{"data":[{"index":0,"probs":[null]}],"choices":[null]}'),
    "empty": (200, {}, b"{}"),
    "more_items": (200, {}, b'{"data":[{"index":0,"probs":[1]},{"index":1,"probs":[1]}]}'),
    "fewer_items": (200, {}, b'{"data":[],"choices":[]}'),
    "huge": (200, {}, b" " * 4_000_000),
}
# What happens on the wire instead.
WIRE_FAULTS = ("hang", "drip", "hang_up", "cut_short", "echo_key")


def worth(text: str) -> int:
    """How good the server finds an answer: its words, 1 to 10."""
    return max(1, min(10, len(text.split())))


class RewardServer:
    """The server, in threads of its own.

    Attributes:
        fault: mode of every request, None for none.
        faults: text -> mode of the requests whose body holds it.
        first: only so many requests are faulty; None: all.
        says: what the judge replies in place of a verdict to prompts that hold the text.
        bodies: what was asked, in order, as (path, body).
        keys: Authorization headers that came.
        times: how often each body came.
        latency_s: before each answer.
        usage: fields that answers carry besides, such as {"usage": {"prompt_tokens": 9}}.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.faults: dict[str, str] = {}
        self.first: int | None = None
        self.says: dict[str, str] = {}
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str | None] = []
        self.times: Counter[bytes] = Counter()
        self.latency_s = 0.0
        self.usage: dict[str, Any] = {}
        self._faulty = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # head and body in one packet

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                mode = outer.noted(self.path, raw, self.headers.get("Authorization"))
                time.sleep(outer.latency_s)
                if mode in WIRE_FAULTS:
                    outer.misbehave(self, mode)
                    return
                body = orjson.loads(raw)
                good = (200, {}, b"") if mode else outer.answer(self.path, body)
                status, headers, content = FAULTS[mode] if mode else good
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def handle(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def noted(self, path: str, raw: bytes, key: str | None) -> str | None:
        """Count a request; the mode it is answered with."""
        with self._lock:
            self.bodies.append((path, orjson.loads(raw)))
            self.keys.append(key)
            self.times[path.encode() + raw] += 1
            text = raw.decode()
            mode = next((mode for part, mode in self.faults.items() if part in text), self.fault)
            if mode is not None and self.first is not None and self._faulty >= self.first:
                return None
            self._faulty += mode is not None
            return mode

    def misbehave(self, handler: BaseHTTPRequestHandler, mode: str) -> None:
        key = handler.headers.get("Authorization", "")
        head = b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n"
        if mode == "hang":
            self._over.wait(30)
        elif mode == "drip":
            handler.wfile.write(head)
            while not self._over.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        elif mode == "cut_short":
            handler.wfile.write(head + b'{"data"')
        elif mode == "echo_key":
            said = f"Incorrect API key: {key}".encode()
            status = b"HTTP/1.0 401 No\r\nContent-Length: %d\r\n\r\n" % len(said)
            handler.wfile.write(status + said)
        handler.wfile.flush()
        handler.connection.close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if path == "/tokenize":
            return _good({"tokens": _tokens(body, answered=False)})
        if path in ("/classify", "/pooling"):
            texts = body.get("input") or [body["messages"][-1]["content"]]
            key = "probs" if path == "/classify" else "data"
            data = [{"index": at, key: [float(worth(text))]} for at, text in enumerate(texts)]
            return _good({"object": "list", "data": data[::-1], **self.usage})
        if path in ("/v1/chat/completions", "/v1/completions") and "prompt_logprobs" in body:
            return _good(_likelihood(path, body))
        if path == "/v1/chat/completions":
            said = self.verdict(body["messages"][-1]["content"])
            return _good({"choices": [{"index": 0, "message": {"content": said}}], **self.usage})
        return 404, {}, b'{"detail":"Not Found"}'

    def verdict(self, prompt: str) -> str:
        other = next((said for part, said in self.says.items() if part in prompt), None)
        if other is not None:
            return other
        values = [worth(text) for _, text in _FENCED.findall(prompt)]
        if '{"score": N}' in prompt:
            verdict: Any = {"score": values[0]}
        elif '{"better": "A"}' in prompt:
            one, two = values
            verdict = {"better": "tie" if one == two else "A" if one > two else "B"}
        else:
            checks = {str(at): [int(n < v) for n in range(8)] for at, v in enumerate(values, 1)}
            verdict = checks
        return f"Some thoughts first.\n{orjson.dumps(verdict).decode()}"

    def __enter__(self) -> RewardServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _good(answer: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, orjson.dumps(answer)


def _tokens(body: dict[str, Any], *, answered: bool) -> list[int]:
    """A token a character: the turns, each behind a token of its own, and one before the answer."""
    if "prompt" in body:
        return [1, *map(ord, body["prompt"])]
    turns = body["messages"]
    tokens = [1]
    for turn in turns[:-1] if answered else turns:
        tokens += [2, *map(ord, turn["content"])]
    return [*tokens, 3, *(map(ord, turns[-1]["content"]) if answered else ())]


def _likelihood(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Every token has the log-probability -0.5, but the letter z, which has -4."""
    ids = _tokens(body, answered=True)
    logprobs: list[Any] = [None]
    logprobs += [{str(i): {"logprob": -4.0 if i == ord("z") else -0.5}} for i in ids[1:]]
    told = {"prompt_token_ids": ids, "prompt_logprobs": logprobs}
    if path.endswith("/chat/completions"):
        return {"choices": [{"message": {"content": "x"}}], **told}
    return {"choices": [{"text": "x", **told}]}

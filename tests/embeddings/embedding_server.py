"""A stand-in `/v1/embeddings` server on a real socket: deterministic vectors, faults on request."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import orjson


def vector_of(text: str, size: int) -> list[float]:
    """A vector that a text alone decides."""
    return [float(len(text) + 1), *(float(ord(char) % 7) for char in text.ljust(size, "a"))][:size]


class EmbeddingServer:
    """`with EmbeddingServer() as server:` serves at `server.base_url`.

    Attributes:
        faults: (status, headers, body) answered to the next requests instead; status 0 hangs up.
        bend: changes a good answer before it is sent.
        bodies: what was asked, in order.
        keys: the Authorization headers that came.
    """

    def __init__(self, size: int = 4) -> None:
        self.size = size
        self.faults: list[tuple[int, dict[str, str], bytes]] = []
        self.bend: Any = lambda answer: answer
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(orjson.loads(body))
                outer.keys.append(self.headers.get("Authorization"))
                status, headers, content = outer.answer(outer.bodies[-1], self.path)
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, body: dict[str, Any], path: str) -> tuple[int, dict[str, str], bytes]:
        if self.faults:
            return self.faults.pop(0)
        if path != "/v1/embeddings":
            return 404, {}, b'{"detail":"Not Found"}'
        size = body.get("dimensions") or self.size
        data = [
            {"object": "embedding", "index": index, "embedding": vector_of(text, size)}
            for index, text in enumerate(body["input"])
        ]
        # Backwards: a client has to go by the index.
        answer = {"object": "list", "model": body["model"], "data": data[::-1]}
        return 200, {}, orjson.dumps(self.bend(answer))

    def __enter__(self) -> EmbeddingServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

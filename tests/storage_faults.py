"""An HTTP proxy before an S3 server, in this process, that does what storage does on a bad day."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

# What is done to a request: before it reaches the store, after it took effect there, or to the
# answer on its way back.
FAULTS = (
    "slow_down",  # 503 SlowDown, not done
    "timeout",  # no answer at all, not done
    "timeout_after",  # done, no answer
    "reset",  # the connection breaks, not done
    "reset_in_body",  # the connection breaks in mid-request, not done
    "reset_after",  # done, the connection breaks
    "error_after",  # done, 500 InternalError
    "cut",  # done, the answer's body breaks off (of a request without one: reset_after)
)
_RESET = struct.pack("ii", 1, 0)
_XML = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
_ANSWERS = {
    "slow_down": (503, _XML.format(code="SlowDown")),
    "expired": (400, _XML.format(code="ExpiredToken")),
    "too_many": (429, _XML.format(code="TooManyRequests")),
    "in_flight": (409, _XML.format(code="ConditionalRequestConflict")),
    "unknown_call": (501, _XML.format(code="NotImplemented")),
    "refused_in_200": (
        200,
        "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
        "</DeleteResult>",
    ),
    "empty_list": (
        200,
        '<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>',
    ),
}
# Of the connection to the proxy only.
_HOP = {"connection", "keep-alive", "transfer-encoding"}

Choose = Callable[[str, str], "str | None"]


class FaultyStore:
    """The address of a store behind a proxy; `choose(method, path)` names the fault, or None.

    Attributes:
        injected: fault -> times.
        requests: all that came.
        calls: (method, kind of request) -> times.
        conditions: what becomes of If-None-Match: "kept", "ignored" or "refused" (501).
        hang_s: how long a "timeout" is silent, longer than the client's patience.
    """

    def __init__(self, store: str, choose: Choose = lambda method, path: None) -> None:
        self.store = urlsplit(store)
        self.choose = choose
        self.hang_s = 3.0
        self.injected: Counter[str] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.conditions = "kept"
        self.requests = 0
        self.lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            faulty = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyStore:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def chosen(self, method: str, path: str) -> str | None:
        with self.lock:
            self.requests += 1
            self.calls[method, _kind(path)] += 1
            fault = self.choose(method, path)
            if fault is not None:
                self.injected[fault] += 1
            return fault


def _kind(path: str) -> str:
    """What a request is about, by its query: "object", "list", "delete", "uploads" or "part"."""
    names = set(parse_qs(urlsplit(path).query, keep_blank_values=True))
    if "list-type" in names:
        return "list"
    if "delete" in names or "uploads" in names:
        return "delete" if "delete" in names else "uploads"
    return "part" if "uploadId" in names else "object"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: FaultyStore

    def do(self) -> None:
        fault = self.faulty.chosen(self.command, self.path)
        if self.faulty.conditions != "kept" and self.headers["If-None-Match"]:
            del self.headers["If-None-Match"]
            fault = fault or ("unknown_call" if self.faulty.conditions == "refused" else None)
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if fault == "reset_in_body":
            self.rfile.read(length // 2)
            self._break()
            return
        body = self.rfile.read(length)
        if fault in _ANSWERS:
            status, content = _ANSWERS[fault]
            self._answer(status, [], content.encode())
        elif fault == "reset":
            self._break()
        elif fault == "timeout":
            self._hang()
        else:
            self._spoil(fault, *self._forward(body))

    def _spoil(
        self, fault: str | None, status: int, headers: list[tuple[str, str]], content: bytes
    ) -> None:
        """Do something to the answer of a request that took effect."""
        if fault is None:
            self._answer(status, headers, content)
        elif fault == "timeout_after":
            self._hang()
        elif fault == "error_after":
            self._answer(500, [], _XML.format(code="InternalError").encode())
        else:
            if fault == "cut" and content:
                self._head(status, headers, len(content))
                self.wfile.write(content[: len(content) // 2])
            self._break()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do  # noqa: N815

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        store = self.faulty.store
        connection = http.client.HTTPConnection(store.hostname or "", store.port, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, answer.getheaders(), content
        finally:
            connection.close()

    def _head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        own = [value for name, value in headers if name.lower() == "content-length"]
        self._head(status, headers, int(own[0]) if own and not content else len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _hang(self) -> None:
        time.sleep(self.faulty.hang_s)
        self._break()

    def _break(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True  # the client went away, or we did

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a fault is no news here."""


def at_random(seed: int, faults: int, share: float = 0.25) -> Choose:
    """So many faults of every kind in turn, each on a random one of the requests."""
    drawn = random.Random(seed)
    left = [FAULTS[number % len(FAULTS)] for number in range(faults)]
    drawn.shuffle(left)

    def choose(method: str, path: str) -> str | None:
        return left.pop() if left and drawn.random() < share else None

    return choose

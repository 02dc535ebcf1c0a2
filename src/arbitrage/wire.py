"""POST of JSON with retries, bounded answers, and no secret in an error. Blocking, so that pure
functions over batches can use it; threads make it concurrent."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from arbitrage.errors import EndpointError
from arbitrage.secrets import without_secret

_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
# The request itself will not do; another one may.
_REFUSED = frozenset({400, 413, 422})
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Address:
    """Where to post, and how patient to be.

    Attributes:
        url: whole URL.
        secret: bearer token, "" for none; never shown.
        timeout_s: for connecting, and for each pause in an answer.
        max_retries: after 408, 409, 429, 5xx, timeouts and lost connections.
        max_bytes: a longer answer is refused without reading on.
        deadline_s: for a whole answer, however steadily it drips; None = no limit.
    """

    url: str
    secret: str
    timeout_s: float
    max_retries: int
    max_bytes: int
    deadline_s: float | None = None

    def error(self, what: str, mend: str, cause: str = "malformed") -> EndpointError:
        """The error for this address, the secret struck out of what was said."""
        what = without_secret(what.encode("utf-8", "replace"), self.secret).decode("utf-8")
        return EndpointError(f"{self.url}: {what}.", cause=cause, mend=mend)


def post_json(address: Address, body: Any, wanted: Callable[[], bool] = lambda: True) -> Any:
    """The decoded answer to one POST.

    Raises EndpointError for other statuses than 200, for what is no JSON or too long, and when
    retries are used up. Waits between tries as Retry-After says (at most 60 s, and up to a quarter
    more, so that not all come back at once), else 0.5 s doubled each time up to 30 s, with full
    jitter. No try is made once the answer is not `wanted` any more.
    """
    content = orjson.dumps(body)
    failure = "it is not wanted any more"
    for attempt in range(address.max_retries + 1):
        if not wanted():
            break
        wait = random.uniform(0, min(30.0, 0.5 * 2**attempt))  # noqa: S311
        try:
            status, answer, retry_after = _exchange(address, content)
        except (OSError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__}: {error}"
        else:
            if status == 200:
                return _decoded(address, answer)
            said = answer[:_SHOWN].decode("utf-8", "replace")
            failure = f"HTTP {status}, {said}"
            if status not in _AGAIN:
                cause = "refused" if status in _REFUSED else "denied"
                raise address.error(failure, "Check base_url, model and api_key_env.", cause)
            if retry_after is not None:
                wait = min(60.0, retry_after) * random.uniform(1, 1.25)  # noqa: S311
        if attempt < address.max_retries:
            time.sleep(wait)
    tries = address.max_retries + 1
    mend = "Start the server, or raise max_retries or timeout_s."
    raise address.error(f"no answer in {tries} tries, the last: {failure}", mend, "unanswered")


def _exchange(address: Address, content: bytes) -> tuple[int, bytes, float | None]:
    """Status, body and seconds of Retry-After of one request."""
    parts = urlsplit(address.url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=address.timeout_s)
    headers = {"Content-Type": "application/json"}
    if address.secret:
        headers["Authorization"] = f"Bearer {address.secret}"
    try:
        connection.connect()
        with _cut_off(connection.sock, address.deadline_s):
            connection.request("POST", parts.path, content, headers)
            response = connection.getresponse()
            answer = response.read(address.max_bytes + 1)
    finally:
        connection.close()
    if len(answer) > address.max_bytes:
        mend = "Check that base_url is a server of this kind, or lower batch."
        raise address.error(f"an answer of more than {address.max_bytes:,} bytes", mend)
    if response.length:  # reading with a limit takes a lost connection for the end
        raise http.client.IncompleteRead(answer, response.length)
    after = response.headers.get("Retry-After", "")
    # Careless servers repeat the key; struck out before anything is cut short or read.
    answer = without_secret(answer, address.secret)
    return response.status, answer, float(after) if after.isdigit() else None


class _cut_off(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a verb
    """End a connection after so many seconds; TimeoutError where that was needed."""

    def __init__(self, sock: socket.socket, deadline_s: float | None) -> None:
        self._sock, self._deadline_s = sock, deadline_s
        self._timer = None if deadline_s is None else threading.Timer(deadline_s, self._cut)
        self._fired = False

    def _cut(self) -> None:
        self._fired = True
        with contextlib.suppress(OSError):  # it may have ended by itself just now
            self._sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._fired:
            raise TimeoutError(f"no whole answer in {self._deadline_s:g} s") from error


def _decoded(address: Address, answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        said = answer[:_SHOWN].decode("utf-8", "replace")
        mend = "Check that base_url ends in /v1 and is an OpenAI-compatible server."
        raise address.error(f"an answer that is no JSON ({said})", mend) from error

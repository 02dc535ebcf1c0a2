"""POST of JSON with retries, bounded answers, and no secret in an error. Blocking, so that pure
functions over batches can use it; threads make it concurrent."""

from __future__ import annotations

import http.client
import random
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from arbitrage.errors import EmbeddingError

_AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
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
    """

    url: str
    secret: str
    timeout_s: float
    max_retries: int
    max_bytes: int

    def error(self, what: str, mend: str) -> EmbeddingError:
        """The error for this address, the secret struck out of what the server said."""
        if self.secret:
            what = what.replace(self.secret, "***")
        return EmbeddingError(f"{self.url}: {what}.", mend=mend)


def post_json(address: Address, body: Any) -> Any:
    """The decoded answer to one POST.

    Raises EmbeddingError for other statuses than 200, for what is no JSON or too long, and when
    retries are used up. Waits between tries as Retry-After says (at most 60 s), else 0.5 s doubled
    each time up to 30 s, with full jitter.
    """
    content = orjson.dumps(body)
    for attempt in range(address.max_retries + 1):
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
                raise address.error(failure, "Check base_url, model and api_key_env.")
            wait = wait if retry_after is None else min(60.0, retry_after)
        if attempt < address.max_retries:
            time.sleep(wait)
    tries = address.max_retries + 1
    mend = "Start the server, or raise max_retries or timeout_s."
    raise address.error(f"no answer in {tries} tries, the last: {failure}", mend)


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
        connection.request("POST", parts.path, content, headers)
        response = connection.getresponse()
        answer = response.read(address.max_bytes + 1)
    finally:
        connection.close()
    if len(answer) > address.max_bytes:
        mend = "Check that base_url is an embeddings server, or lower batch."
        raise address.error(f"an answer of more than {address.max_bytes:,} bytes", mend)
    after = response.headers.get("Retry-After", "")
    return response.status, answer, float(after) if after.isdigit() else None


def _decoded(address: Address, answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        said = answer[:_SHOWN].decode("utf-8", "replace")
        mend = "Check that base_url ends in /v1 and is an OpenAI-compatible server."
        raise address.error(f"an answer that is no JSON ({said})", mend) from error

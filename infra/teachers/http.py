"""One HTTP client a teacher: kept-alive connections, bounded answers, no secret in an error."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.chat_wire import clip
from arbitrage.secrets import without_secret

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

# Answers before the answer: "100 Continue", "103 Early Hints". 101 is one, and never asked for.
_NOT_YET = frozenset({100, *range(102, 200)})


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whole."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class HttpClient:
    """aiohttp's connections and parser without its session, at half its CPU a request.

    The session builds each request and its answer as objects: checked and merged headers, cookies,
    redirects, traces, a task to write the body. None of it is wanted here, where every request to
    an address has the same headers; aiohttp itself writes those once (docs/performance-clients.md).

    Args:
        key: sent as a bearer token with each request; never shown, and struck out of answers, since
            careless servers repeat it.
        timeout_s: for one whole exchange, connecting included. The caller limits concurrency, so no
            request ever waits here for a connection.
        max_response_bytes: a longer body is refused without reading on.
    """

    def __init__(self, key: str | None, *, timeout_s: float, max_response_bytes: int) -> None:
        import aiohttp  # noqa: PLC0415 (heavy)

        self._key = key or ""
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._headers = {"Content-Type": "application/json", **authorization}
        self._timeout_s = timeout_s
        self._max_bytes = max_response_bytes
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
        self._patience = aiohttp.ClientTimeout(total=None)
        self._heads: dict[tuple[str, str], tuple[aiohttp.ClientRequest, bytes]] = {}

    async def send(self, method: str, url: str, body: bytes | None = None) -> Reply:
        """One exchange; TeacherError generate.timeout, .connection or .response_too_large."""
        import aiohttp  # noqa: PLC0415 (heavy)

        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                message, content = await self._exchange(method, url, body)
        except TimeoutError:
            detail = f"no whole answer within {self._timeout_s:g} s"
            raise TeacherError("generate.timeout", detail, transient=True) from None
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError) as error:
            detail = clip(f"{type(error).__name__}: {error}")
            refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
            raise TeacherError(
                "generate.connection", detail, transient=True, unreachable=refused
            ) from None
        latency_ms = (time.perf_counter() - started) * 1000
        kind = message.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        content = without_secret(content, self._key)
        return Reply(message.code, kind, message.headers, content, latency_ms)

    async def _exchange(
        self, method: str, url: str, body: bytes | None
    ) -> tuple[RawResponseMessage, bytes]:
        request, head = self._head(method, url)
        connection = await self._connector.connect(request, [], self._patience)
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None
            assert transport is not None
            protocol.set_response_params(read_until_eof=True)
            if body is None:
                transport.write(head + b"\r\n")
            else:
                transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
            message, payload = await protocol.read()
            while message.code in _NOT_YET:
                message, payload = await protocol.read()
            content = await self._read(message.headers, payload)
            # Answered before it had read the whole request: the rest would be taken for the next.
            if transport.get_write_buffer_size():
                connection.close()
        except BaseException:
            connection.close()
            raise
        connection.release()
        return message, content

    def _head(self, method: str, url: str) -> tuple[aiohttp.ClientRequest, bytes]:
        """What a connection to this address is asked for with, and the bytes each request begins
        with, but for its Content-Length: as aiohttp would write them."""
        known = self._heads.get((method, url))
        if known is None:
            import aiohttp  # noqa: PLC0415 (heavy)
            from yarl import URL  # noqa: PLC0415 (heavy)

            request = aiohttp.ClientRequest(
                method, URL(url), headers=self._headers, loop=asyncio.get_running_loop()
            )
            lines = [f"{method} {request.url.raw_path_qs} HTTP/1.1"]
            lines += [
                f"{name}: {value}"
                for name, value in request.headers.items()
                if name.lower() != "content-length"
            ]
            known = request, "".join(f"{line}\r\n" for line in lines).encode()
            self._heads[method, url] = known
        return known

    async def _read(self, headers: Mapping[str, str], payload: StreamReader) -> bytes:
        length = headers.get("Content-Length", "")
        known = length.isdigit() and "Content-Encoding" not in headers
        if known and int(length) <= self._max_bytes:
            return await payload.read()
        parts: list[bytes] = []
        size = 0
        async for part in payload.iter_any():
            size += len(part)
            if size > self._max_bytes:
                detail = f"more than max_response_bytes = {self._max_bytes}"
                raise TeacherError("generate.response_too_large", detail)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        await self._connector.close()


def is_json(content_type: str) -> bool:
    """Whether a Content-Type may carry JSON; servers without one are believed."""
    kind = content_type.lower()
    return "json" in kind or kind in {"application/octet-stream", "text/plain", ""}


def listed_models(answer: Any) -> list[str]:
    """Model ids of a GET /models answer."""
    data = answer.get("data") if isinstance(answer, dict) else None
    items = data if isinstance(data, list) else []
    return [str(item["id"]) for item in items if isinstance(item, dict) and "id" in item]

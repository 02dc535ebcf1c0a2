"""One HTTP client a teacher: kept-alive connections, bounded answers, no secret in an error."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whole."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    latency_ms: float


class HttpClient:
    """aiohttp with what this product needs of it (0.17 ms of CPU a request; httpx took 3).

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
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s
        self._max_bytes = max_response_bytes
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            # ceil_threshold: aiohttp would round longer timeouts up to whole seconds.
            timeout=aiohttp.ClientTimeout(total=timeout_s, ceil_threshold=timeout_s + 1),
            headers={"Content-Type": "application/json", **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, method: str, url: str, body: bytes | None = None) -> Reply:
        """One exchange; TeacherError generate.timeout, .connection or .response_too_large."""
        import aiohttp  # noqa: PLC0415 (heavy)

        started = time.perf_counter()
        try:
            async with self._session.request(
                method, url, data=body, allow_redirects=False
            ) as response:
                content = await self._read(response)
        except TimeoutError:
            detail = f"no whole answer within {self._timeout_s:g} s"
            raise TeacherError("generate.timeout", detail, transient=True) from None
        except (aiohttp.ClientError, OSError) as error:
            detail = clip(f"{type(error).__name__}: {error}")
            refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
            raise TeacherError(
                "generate.connection", detail, transient=True, unreachable=refused
            ) from None
        latency_ms = (time.perf_counter() - started) * 1000
        kind_of = response.content_type
        content = without_secret(content, self._key)
        return Reply(response.status, kind_of, response.headers, content, latency_ms)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        headers = response.headers
        length = headers.get("Content-Length", "")
        known = length.isdigit() and "Content-Encoding" not in headers
        if known and int(length) <= self._max_bytes:
            return await response.read()
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._max_bytes:
                response.close()
                detail = f"more than max_response_bytes = {self._max_bytes}"
                raise TeacherError("generate.response_too_large", detail)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def close(self) -> None:
        await self._session.close()


def is_json(content_type: str) -> bool:
    """Whether a Content-Type may carry JSON; servers without one are believed."""
    kind = content_type.lower()
    return "json" in kind or kind in {"application/octet-stream", "text/plain", ""}


def listed_models(answer: Any) -> list[str]:
    """Model ids of a GET /models answer."""
    data = answer.get("data") if isinstance(answer, dict) else None
    items = data if isinstance(data, list) else []
    return [str(item["id"]) for item in items if isinstance(item, dict) and "id" in item]

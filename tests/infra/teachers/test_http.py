"""The HTTP client against a server that writes the very bytes it is told to."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from arbitrage.infra.teachers.base import TeacherError
from arbitrage.infra.teachers.http import HttpClient, Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
TEXT = b'{"cevap": "merhaba"}'
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(TEXT) + TEXT
PACKED = gzip.compress(TEXT)
LONG_S = 60.0


class Server:
    """Answers every request with the same bytes, and keeps what it was sent.

    Attributes:
        requests: heads and bodies, as they came.
        connections: how many were opened; `closed` counts those that the client has ended.
    """

    def __init__(self, answer: bytes, *, closes: bool = False, reads_body: bool = True) -> None:
        self.answer, self.closes, self.reads_body = answer, closes, reads_body
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self.came = asyncio.Event()
        self.closed = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head)) if self.reads_body else b""
                self.requests.append((head, body))
                self.came.set()
                writer.write(self.answer)
                if self.closes:
                    return
                if not self.reads_body:
                    await asyncio.Event().wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.release()
        finally:
            writer.close()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().splitlines())
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def talk(
    server: Callable[[], Server],
    work: Callable[[Server, HttpClient, str], Awaitable[Any]],
    *,
    timeout_s: float = LONG_S,
    most: int = 1 << 20,
    key: str | None = None,
) -> Any:
    async def main() -> Any:
        told = server()
        listening = await asyncio.start_server(told.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        client = HttpClient(key, timeout_s=timeout_s, max_response_bytes=most)
        try:
            return await work(told, client, f"http://127.0.0.1:{port}/v1/chat?x=1")
        finally:
            await client.close()
            listening.close()

    return asyncio.run(asyncio.wait_for(main(), LONG_S))


async def once(_: Server, client: HttpClient, url: str) -> Reply:
    return await client.send("POST", url, b"{}")


def error_of(server: Callable[[], Server], **more: Any) -> TeacherError:
    with pytest.raises(TeacherError) as caught:
        talk(server, once, **more)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + WHOLE,
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + TEXT[:5] + b"\r\n"
        b"%x\r\n" % len(TEXT[5:]) + TEXT[5:] + b"\r\n0\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    ],
    ids=["length", "1xx first", "chunked", "gzip"],
)
def test_an_answer_is_read_whole_and_its_connection_used_again(answer):
    async def three(told: Server, client: HttpClient, url: str) -> int:
        for _ in range(3):
            reply = await client.send("POST", url, b"{}")
            assert (reply.status, reply.body) == (200, TEXT)
            assert reply.content_type == "application/json"
        return told.connections

    assert talk(lambda: Server(answer), three) == 1


@pytest.mark.parametrize("length", [b"", b"Connection: close\r\nContent-Length: 20\r\n"])
def test_an_answer_that_ends_with_its_connection_is_read_whole(length):
    async def two(told: Server, client: HttpClient, url: str) -> int:
        for _ in range(2):
            assert (await client.send("GET", url)).body == TEXT
        return told.connections

    assert talk(lambda: Server(OK + length + b"\r\n" + TEXT, closes=True), two) == 2


def test_a_request_is_to_the_byte_what_the_session_of_aiohttp_writes():
    async def both(told: Server, client: HttpClient, url: str) -> list[tuple[bytes, bytes]]:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-1"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for method, body in (("GET", None), ("POST", "{ğ}".encode())):
                await client.send(method, url, body)
                async with session.request(method, url, data=body) as response:
                    await response.read()
        return told.requests

    ours, theirs, ours_posted, theirs_posted = talk(lambda: Server(WHOLE), both, key="sk-1")
    for (head, body), (other_head, other_body) in ((ours, theirs), (ours_posted, theirs_posted)):
        assert body == other_body
        assert head.splitlines()[0] == other_head.splitlines()[0]
        assert sorted(head.splitlines()) == sorted(other_head.splitlines())


def test_an_answer_before_the_request_was_read_leaves_no_rest_for_the_next():
    async def two(told: Server, client: HttpClient, url: str) -> int:
        for _ in range(2):
            assert (await client.send("POST", url, bytes(32 << 20))).status == 413
        return told.connections

    refusal = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"
    assert talk(lambda: Server(refusal, reads_body=False), two) == 2


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", False),
        (b"", True),
        (OK + b"Content-Length: 99\r\n\r\n" + TEXT, True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", False),
        (OK + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n", False),
    ],
    ids=["no HTTP", "no answer", "cut off", "bad chunk", "bad gzip", "long header"],
)
def test_a_broken_answer_is_a_connection_error_worth_another_try(answer, closes):
    error = error_of(lambda: Server(answer, closes=closes))
    assert error.reason == "generate.connection"
    assert (error.transient, error.unreachable) == (True, False)


def test_an_address_that_refuses_is_said_to_be_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"

        async def elsewhere(_: Server, client: HttpClient, __: str) -> Reply:
            return await client.send("GET", url)

        with pytest.raises(TeacherError) as caught:
            talk(lambda: Server(WHOLE), elsewhere)
    assert (caught.value.reason, caught.value.unreachable) == ("generate.connection", True)


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        OK + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + TEXT + b"\r\n0\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    ],
    ids=["length", "chunked", "gzip"],
)
def test_what_is_longer_than_allowed_is_refused_and_the_client_goes_on(answer):
    async def two(told: Server, client: HttpClient, url: str) -> str:
        with pytest.raises(TeacherError, match="max_response_bytes = 19") as caught:
            await client.send("GET", url)
        told.answer = OK + b"Content-Length: 2\r\n\r\n{}"
        assert (await client.send("GET", url)).body == b"{}"
        return caught.value.reason

    assert talk(lambda: Server(answer), two, most=19) == "generate.response_too_large"


def test_a_timeout_says_how_long_and_ends_the_connection():
    async def waits(told: Server, client: HttpClient, url: str) -> TeacherError:
        with pytest.raises(TeacherError) as caught:
            await client.send("POST", url, b"{}")
        await told.closed.acquire()
        return caught.value

    error = talk(lambda: Server(b""), waits, timeout_s=1.0)
    assert (error.reason, error.transient) == ("generate.timeout", True)
    assert "1 s" in error.detail


def test_a_cancelled_request_ends_its_connection_and_no_other():
    async def cancelled(told: Server, client: HttpClient, url: str) -> int:
        told.answer = b""
        task = asyncio.create_task(client.send("POST", url, b"{}"))
        await told.came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await told.closed.acquire()
        told.answer = WHOLE
        assert (await client.send("POST", url, b"{}")).body == TEXT
        return told.connections

    assert talk(lambda: Server(WHOLE), cancelled) == 2

"""The stand-in server of the tests, with a stopwatch; as a program, its own process.

Rows carry a mark, so a client's probing requests do not start the watch. GET /first answers when
the first marked request has come, with its time on the machine's monotonic clock. With
--spread how long an answer is depends on its row: 32 to 512 tokens, log-uniform, the same for every
client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import xxhash

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from stand_in_behaviour import Behaviour
from stand_in_server import StandIn

MARK = re.compile(rb"\[row \d+\]")


class TimedStandIn(StandIn):
    """Adds /first, the spread of lengths, and `Connection: close` (datatrove)."""

    spread = False
    first: float | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._want_first: list[Any] = []

    def handle(self, connection: Any, method: bytes, path: bytes, head: bytes, body: bytes) -> None:
        if path == b"/first":
            self._want_first.append(connection)
            self._tell_first()
        elif path == b"/sent":
            sent = {"requests": self.stats.requests, "peak_in_flight": self.stats.peak}
            connection.reply(200, orjson.dumps(sent))
        else:
            if mark := MARK.search(body):
                if self.first is None:
                    self.first = time.monotonic()
                    self._tell_first()
                if self.spread:
                    uniform = xxhash.xxh3_64_intdigest(mark[0]) / 2**64
                    self.behaviour.tokens = round(32 * 16**uniform)
            if b"connection: close" in head.lower():
                _close_after_reply(connection)
            super().handle(connection, method, path, head, body)

    def _tell_first(self) -> None:
        while self.first is not None and self._want_first:
            self._want_first.pop().reply(200, orjson.dumps(self.first))


def _close_after_reply(connection: Any) -> None:
    reply = connection.reply

    def last_reply(*args: Any, **more: Any) -> None:
        reply(*args, **more)
        connection.transport.close()

    connection.reply = last_reply


async def _serve(arguments: argparse.Namespace) -> None:
    behaviour = Behaviour(
        latency_s=arguments.latency_ms / 1000,
        token_s=arguments.token_ms / 1000,
        batch=arguments.batch,
    )
    server = TimedStandIn(behaviour)
    server.spread = arguments.spread
    await server.start()
    print(server.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--token-ms", type=float, default=0.0)
    parser.add_argument("--batch", type=int, help="answers in work at once; the rest queue")
    parser.add_argument("--spread", action="store_true")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))

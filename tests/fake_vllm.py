"""A program that stands in for `vllm serve`: starts slowly, records its starts, fails as told.

`python tests/fake_vllm.py serve MODEL --host H --port P [--record FILE] [faults]`. The answers are
those of tests/stand_in_server.py, on real sockets. Each start appends a line to FILE: the model,
the pid, the pids of its children, and which earlier servers of the file still run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from stand_in_server import Behaviour, StandIn


class FakeVllm(StandIn):
    """Answers /health too, and counts down to its crash."""

    crash_after: int | None = None
    hang_after: int | None = None

    def handle(self, connection, method, path, head, body):
        if path == b"/health":
            connection.reply(200, b"")
            return
        if path.endswith(b"/chat/completions"):
            if self.crash_after == self.stats.requests:
                print("engine core died: CUDA error: an illegal memory access", flush=True)
                os._exit(7)
            if self.hang_after == self.stats.requests:
                self.behaviour.mode = "hang"
        super().handle(connection, method, path, head, body)


def runs(pid: int) -> bool:
    """Whether it is alive and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def starts(record: str | Path) -> list[dict]:
    """The recorded starts, first to last."""
    path = Path(record)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record_start(given: argparse.Namespace, child: int) -> int:
    """Append to the record; how many starts of this model there were before."""
    before = starts(given.record)
    line = {
        "model": given.model,
        "pid": os.getpid(),
        "child": child,
        "port": given.port,
        "beside": [one["model"] for one in before if runs(one["pid"])],
        "arguments": sys.argv[1:],
        "key": os.environ.get("VLLM_API_KEY"),
    }
    with open(given.record, "a") as file:
        file.write(json.dumps(line) + "\n")
    return sum(one["model"] == given.model for one in before)


async def serve(given: argparse.Namespace, before: int) -> None:
    await asyncio.sleep(given.delay)
    if given.big_log:
        print(("x" * 199 + "\n") * (given.big_log // 200), end="")
    if given.say:
        print(given.say, os.environ.get(given.say_variable, ""), flush=True)
    if given.crash_at_start > before:
        print("RuntimeError: not enough GPU memory", file=sys.stderr, flush=True)
        sys.exit(3)
    if given.taken > before:
        print("OSError: [Errno 98] Address already in use", file=sys.stderr, flush=True)
        sys.exit(1)
    if given.never_ready:
        await asyncio.Event().wait()
    behaviour = Behaviour(models=[given.serves or given.model], latency_s=given.latency_s)
    server = FakeVllm(behaviour, host=given.host, port=given.port)
    if before < given.faulty_starts:
        server.crash_after, server.hang_after = given.crash_after, given.hang_after
    await server.start()
    print("Application startup complete.", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("serve")
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--serves", help="another model than asked for")
    parser.add_argument("--crash-at-start", type=int, default=0, help="the first N starts crash")
    parser.add_argument("--taken", type=int, default=0, help="the first N starts find no port")
    parser.add_argument("--crash-after", type=int, help="requests answered before it dies")
    parser.add_argument("--hang-after", type=int, help="requests answered before it hangs")
    parser.add_argument("--faulty-starts", type=int, default=1, help="crash or hang so many times")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--big-log", type=int, default=0)
    parser.add_argument("--say")
    parser.add_argument("--say-variable", default="")
    given = parser.parse_args()
    if given.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # An engine's worker, which would outlive its parent and hold the GPU's memory.
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    asyncio.run(serve(given, record_start(given, child.pid)))


if __name__ == "__main__":
    main()

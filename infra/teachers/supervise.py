"""Runs a command and leaves nothing of it behind, whatever becomes of the process that wanted it.

A program of its own, on the standard library alone: `python supervise.py GRACE_S COMMAND...`. It
ends the command's whole process group (SIGTERM, then SIGKILL after GRACE_S) when its standard input
ends, when its parent is gone (also by `kill -9`), or on SIGTERM; where the command ends by itself,
what is left of its group is killed. It exits with the command's status, 128 + N for a signal N.

Engines put their work into processes of their own, which hold the GPU's memory; so it waits until
the group is gone, and as a subreaper (Linux) collects those whose parent died first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_KILL_WAIT_S = 10.0


def main(arguments: list[str]) -> int:
    """Run `GRACE_S COMMAND...`; the exit status."""
    grace_s, command = float(arguments[0]), arguments[1:]
    parent = os.getppid()
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            told.append(number)

    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(  # noqa: S603 (the command comes from the run config)
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # One thread here, so this is safe. Should this program itself be killed, so is that.
            preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr, flush=True)
        return 127
    while child.poll() is None:
        readable = select.select([0, wake], [], [], 1.0)[0]
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        input_ended = 0 in readable and not os.read(0, 4096)
        if input_ended or told or os.getppid() != parent:
            _signal_group(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(grace_s)
            break
    _clear(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _clear(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group and wait until it is gone."""
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()
    until = time.monotonic() + _KILL_WAIT_S
    while _signal_group(child.pid, 0):
        if time.monotonic() > until:
            print(f"processes of group {child.pid} do not end", file=sys.stderr, flush=True)
            return
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _signal_group(group: int, number: int) -> bool:
    """Whether there was a group to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True


def _prctl() -> Callable[[int, int], int]:
    if sys.platform != "linux":
        return lambda _option, _value: 0
    libc = ctypes.CDLL(None)
    return lambda option, value: int(libc.prctl(option, value, 0, 0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

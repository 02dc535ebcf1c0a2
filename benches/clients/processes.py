"""What a client's processes cost, from /proc: CPU so far and peak memory. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of CPU (user + system) and MiB of memory, summed over the processes of a session.

    `peak_mib` adds up each living process's own peak (VmHWM): pages they share count twice.
    """

    cpu_s: float
    peak_mib: float
    processes: int


def usage_of_session(leader: int) -> Usage:
    """Of the processes in the session started by `leader`, the ended ones' CPU included."""
    ticks, peak, count = 0, 0, 0
    for pid, fields in _processes():
        if int(fields[3]) == leader or pid == leader:
            # utime, stime, cutime, cstime
            ticks += sum(int(value) for value in fields[11:15])
            peak += _peak_kib(pid)
            count += 1
    return Usage(ticks * _TICK_S, peak / 1024, count)


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has ended since
                continue
            # The name in parentheses may hold spaces; the fields after it do not.
            yield int(entry.name), stat.rsplit(")", 1)[1].split()


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) for line in lines), 0)

"""What the log of a server says of its end: its last lines, and the errors further up."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from arbitrage.infra.teachers.processes import STARTED
from arbitrage.secrets import without_secrets

_TAIL_BYTES = 256 << 10
_LONGEST_LINE = 500
_MOST_ERRORS = 6

# The last line of a Python traceback, bare or behind vLLM's "(Worker pid=7) ERROR ... [x.py:9] ".
_ERROR = re.compile(
    r"^(?:.*?\bERROR\b[^\]]*\] )?((?:\w+\.)*(?:[A-Z]\w*)?(?:Error|Exception)\b(?::.*)?)$"
)


def last_lines(log: Path, count: int, environment: Mapping[str, str]) -> str:
    """The last lines of the last start, without the secrets of `environment`; "" for no log."""
    return without_secrets("\n".join(_lines(log)[-count:]), environment)


def earlier_errors(log: Path, count: int, environment: Mapping[str, str]) -> str:
    """The errors of the last start above its last `count` lines, one a line, first to last.

    An engine's worker names the cause; the server around it prints two tracebacks of its own after
    that, which only say that the engine failed.
    """
    found = [match[1] for line in _lines(log)[:-count] if (match := _ERROR.match(line))]
    return without_secrets("\n".join(list(dict.fromkeys(found))[:_MOST_ERRORS]), environment)


def _lines(log: Path) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    own = text.rpartition(STARTED)[2]
    return [line.rstrip()[:_LONGEST_LINE] for line in own.splitlines() if line.strip()]

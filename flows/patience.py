"""Steps that ask Prefect's server and may be done again, on a machine that is slow or busy."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from arbitrage.errors import ArbitrageError, ConfigError

ResultT = TypeVar("ResultT")

_PATIENCE_S = 600.0
_PAUSE_S = 10.0
_SHOWN_LINES = 200
# As a traceback of the client names them, and a server whose database is locked or away.
_AWAY = re.compile(
    r"\b((?:Read|Write|Connect|Pool)(?:Timeout|Error)|RemoteProtocolError"
    r"|5\d\d (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway Timeout))\b"
)


class ServerAwayError(ArbitrageError):
    """Prefect's server did not answer, or said that it cannot now."""


def patiently(
    step: Callable[[], ResultT],
    what: str,
    *,
    patience_s: float = _PATIENCE_S,
    pause_s: float = _PAUSE_S,
) -> ResultT:
    """What the step returns, which is done again while the server does not answer in time.

    Raises ServerAwayError once that has gone on for `patience_s`; every other error at once.
    """
    began = time.monotonic()
    while True:
        try:
            return step()
        except (httpx.TransportError, PrefectHTTPStatusError, ServerAwayError) as error:
            why = _why(error)
            if why is None:
                raise
            waited = time.monotonic() - began
            if waited >= patience_s:
                raise ServerAwayError(
                    f"{what}: Prefect's server did not answer in time for {waited:.0f} s ({why}).",
                    mend="See its log; where it is only slow, say the same again: what is "
                    "registered stays, and nothing is registered twice.",
                ) from error
        print(
            f"{what}: Prefect's server did not answer in time ({why}), the machine may be busy; "
            f"trying again in {pause_s:.0f} s, for {patience_s - waited:.0f} s at most",
            flush=True,
        )
        time.sleep(pause_s)


def call(command: Sequence[str]) -> None:
    """Run one of Prefect's commands, its output shown where it fails.

    Raises ServerAwayError where the server did not answer, ConfigError where it failed otherwise.
    """
    done = subprocess.run(  # noqa: S603 (our own commands)
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode == 0:
        return
    found = _AWAY.search(done.stdout)
    if found is not None:
        raise ServerAwayError(found[0])
    print("\n".join(done.stdout.splitlines()[-_SHOWN_LINES:]), flush=True)
    raise ConfigError(f"`{' '.join(command[1:])}` ended with {done.returncode}: see above.")


def _why(error: Exception) -> str | None:
    """What to call a failure that may pass; None for one that will not."""
    if isinstance(error, PrefectHTTPStatusError):
        code = error.response.status_code
        return f"HTTP {code}" if code >= 500 else None
    return error.what if isinstance(error, ServerAwayError) else type(error).__name__

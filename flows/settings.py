"""Prefect settings a command line run starts from; whatever the user has set wins."""

from __future__ import annotations

import os
from pathlib import Path

_DEFAULTS = {
    # 20 s was too short once on a busy two-core machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The command line has its own progress and errors; Prefect's log repeats them with tracebacks.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}


def prepare_prefect() -> None:
    """Set the defaults in the environment. Must run before `prefect` is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # The ephemeral server warns where its home is not there yet.
    home = os.environ.get("PREFECT_HOME")
    (Path(home) if home else Path.home() / ".prefect").mkdir(parents=True, exist_ok=True)

"""What a client is asked and how it reports. Standard library only: every peer imports it.

The harness gives a JSON file; the client does the work, says `finished` once its whole output is
written, waits until it has been measured, and only then counts what it wrote.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODEL = "stand-in"
MAX_TOKENS = 1024  # no answer is that long: sent because some clients have a lower default


@dataclass(frozen=True)
class Job:
    """One measured run of a client.

    Attributes:
        base_url: with /v1.
        prompts: JSON Lines with id, prompt, language.
        out: an empty folder.
        checkpoint: for clients that can do without one.
    """

    base_url: str
    prompts: str
    rows: int
    concurrency: int
    out: str
    checkpoint: bool

    def read_prompts(self) -> list[dict[str, str]]:
        lines = Path(self.prompts).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def read_job() -> Job:
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def finished(count_rows: Callable[[], int]) -> None:
    """Say that the job is over; then how many rows have a text, counted off the clock."""
    at = time.monotonic()
    _say({"finished": at})
    sys.stdin.readline()
    _say({"rows": count_rows()})


def _say(message: dict[str, float]) -> None:
    os.write(int(os.environ["JOB_REPORTS"]), json.dumps(message).encode() + b"\n")


def count_texts(folder: str, pattern: str, text_of: Callable[[dict], object]) -> int:  # type: ignore[type-arg]
    """Rows of the JSON Lines files in a folder for which `text_of` gives a text."""
    rows = 0
    for path in Path(folder).glob(pattern):
        with path.open(encoding="utf-8") as lines:
            rows += sum(bool(text_of(json.loads(line))) for line in lines)
    return rows

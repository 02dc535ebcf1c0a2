"""What is shown of a server's log, on lines that vLLM 0.32 wrote when its weights were cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbitrage.infra.teachers.processes import STARTED
from arbitrage.infra.teachers.server_log import earlier_errors, last_lines

CAUSE = (
    "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: "
    "incomplete metadata, file not fully covered"
)
WORKER = "(Worker pid=16051) ERROR 11-21 07:20:35 [multiproc_executor.py:953] "
ENGINE = "(EngineCore pid=15963) ERROR 11-21 07:20:37 [core.py:1510] "
FAILED = "Exception: WorkerProc initialization failed due to an exception in a background process."
LAST = "RuntimeError: Engine core initialization failed. See root cause above."
LOG = f"""\
(APIServer pid=15845) WARNING 11-21 07:19:55 [system_utils.py:255] fd limit errors like `OSError`
{WORKER}WorkerProc failed to start.
{WORKER}Traceback (most recent call last):
{WORKER}    with safe_open(st_file, framework="pt") as f:
{WORKER}         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
{WORKER}{CAUSE}
{ENGINE}Traceback (most recent call last):
{ENGINE}    raise e from None
{ENGINE}{FAILED}
(EngineCore pid=15963) INFO 11-21 07:20:37 [core.py:1] bye
Traceback (most recent call last):
    raise RuntimeError(
{LAST}
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "t.log"
    path.write_text(f"{STARTED}{LOG}", encoding="utf-8")
    return path


def test_the_cause_is_shown_though_two_other_tracebacks_follow_it(log: Path) -> None:
    assert last_lines(log, 2, {}).splitlines() == ["    raise RuntimeError(", LAST]
    assert earlier_errors(log, 2, {}).splitlines() == [CAUSE, FAILED]


def test_what_is_among_the_last_lines_is_not_shown_twice(log: Path) -> None:
    assert earlier_errors(log, 100, {}) == ""


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "ValueError: No available memory for the cache blocks.",
        "AssertionError",
    ],
)
def test_errors_are_found_bare_and_behind_a_loggers_words(log: Path, line: str) -> None:
    log.write_text(f"{line}\n{WORKER}{line}\nlast\n", encoding="utf-8")
    assert earlier_errors(log, 1, {}) == line


def test_an_earlier_start_is_not_shown(log: Path) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{STARTED}one\ntwo\n")
    assert last_lines(log, 15, {}) == "one\ntwo"
    assert earlier_errors(log, 1, {}) == ""


def test_secrets_are_cut_out_of_errors(log: Path) -> None:
    log.write_text("OSError: Bearer hf_12345678 refused\nlast\n", encoding="utf-8")
    assert (
        earlier_errors(log, 1, {"HF_TOKEN": "hf_12345678"}) == "OSError: Bearer [HF_TOKEN] refused"
    )


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none", 3, {}) == earlier_errors(tmp_path / "none", 3, {}) == ""

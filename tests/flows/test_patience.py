"""Registration on a busy machine: tried again while the server does not answer, said each time."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from arbitrage.errors import ConfigError
from arbitrage.flows.patience import ServerAwayError, call, patiently


def refused(code: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://server/api")
    return PrefectHTTPStatusError("no", request=request, response=httpx.Response(code))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ReadTimeout(""), "(ReadTimeout)"),
        (httpx.ConnectError("refused"), "(ConnectError)"),
        (refused(503), "(HTTP 503)"),
        (ServerAwayError("PoolTimeout"), "(PoolTimeout)"),
    ],
)
def test_a_server_that_does_not_answer_is_asked_again_and_that_is_said(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = iter([error, error])

    def step() -> str:
        for failure in failures:
            raise failure
        return "done"

    assert patiently(step, "deployments", pause_s=0) == "done"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("deployments: Prefect's server did not answer") for line in lines)
    assert all(said in line for line in lines)


@pytest.mark.parametrize("error", [refused(422), ConfigError("a mistake"), ValueError("no")])
def test_what_will_not_pass_is_raised_at_once(error: Exception) -> None:
    tries = []

    def step() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        patiently(step, "deployments", pause_s=0)
    assert tries == [1]


def test_in_the_end_it_gives_up_and_says_that_the_same_may_be_said_again() -> None:
    def step() -> None:
        raise httpx.ReadTimeout("")

    with pytest.raises(ServerAwayError, match=r"\(ReadTimeout\).*say the same again"):
        patiently(step, "deployments", patience_s=0, pause_s=0)


def test_a_command_that_met_a_slow_server_is_started_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "deploy.py"
    program.write_text(
        "import pathlib, sys\n"
        f"once = pathlib.Path({str(tmp_path / 'once')!r})\n"
        "if once.exists():\n"
        "    print('deployed'); sys.exit(0)\n"
        "once.touch()\n"
        "print('httpx.ReadTimeout', file=sys.stderr); sys.exit(1)\n",
        "utf-8",
    )
    patiently(lambda: call([sys.executable, str(program)]), "deployments", pause_s=0)
    (said,) = capfd.readouterr().out.splitlines()
    assert "ReadTimeout" in said
    assert "trying again" in said


def test_a_command_that_failed_by_itself_is_not_and_shows_what_it_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "deploy.py"
    program.write_text("raise SystemExit('no such flow')\n", "utf-8")
    with pytest.raises(ConfigError, match="ended with 1"):
        patiently(lambda: call([sys.executable, str(program)]), "deployments", pause_s=0)
    assert capfd.readouterr().out == "no such flow\n"

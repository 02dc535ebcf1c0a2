"""20 teachers die in mid-run, in twelve runs of five teachers, eight times two of them at once.

    python benches/deaths.py [--deaths 20] [--prompts 600] [--seed 0]

Each run is the whole flow, from prompts to views, against five stand-in servers in processes of
their own, of which one or two are killed (SIGKILL) at a random moment. A run passes where it ends,
`verify` finds nothing, every death is in the manifest, and what was requested is what was before.
Prints one row a run and exits 1 where any did not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEACHERS = "abcde"
LANGUAGES = ["ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: who was killed when, and what the manifest and `verify` say."""

    killed: str
    after_s: float
    seconds: float
    requested: int
    kept: int
    failed: int
    rerouted: int
    problems: list[str]


class Servers:
    """Five stand-in servers; `kill` is what a crash looks like."""

    def __init__(self, latency_ms: float) -> None:
        command = [sys.executable, str(ROOT / "tests" / "stand_in_server.py")]
        command += ["--latency-ms", str(latency_ms)]
        self._processes = {
            name: subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for name in TEACHERS
        }
        self.urls = {name: self._url(process) for name, process in self._processes.items()}

    @staticmethod
    def _url(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def kill(self, names: str) -> None:
        for name in names:
            self._processes[name].kill()

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def one_run(folder: Path, names: str, after_s: float, prompts: int, number: int) -> Outcome:
    """A run in which the teachers `names` die `after_s` after their first answers."""
    from arbitrage.config import RunConfig
    from arbitrage.flows.distill import distill
    from arbitrage.infra.progress import board
    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.verify import verify_run

    servers = Servers(latency_ms=100)
    config = RunConfig.model_validate(_config(folder, servers.urls, prompts, number))

    def kill_in_mid_run() -> None:
        while not board.read().finished:
            time.sleep(0.01)
        time.sleep(after_s)
        servers.kill(names)

    killer = threading.Thread(target=kill_in_mid_run, daemon=True)
    board.reset()
    killer.start()
    started = time.monotonic()
    try:
        path = Path(distill(config, run_id=f"r{number}", new=True))
    finally:
        servers.close()
    seconds = time.monotonic() - started
    manifest, found = open_run(path).manifest, verify_run(path)
    problems, totals = list(found.problems), manifest["totals"]
    deaths = {death["teacher"]: death for death in manifest["deaths"]}
    if set(deaths) != set(names):
        problems.append(f"killed {names}, the manifest tells of {sorted(deaths)}")
    if totals["requested"] != prompts * 2:
        problems.append(f"{totals['requested']} requested of {prompts * 2}")
    if totals["kept"] + totals["rejected"] + totals["failed"] != totals["requested"]:
        problems.append("counts do not add up")
    return Outcome(
        names,
        after_s,
        seconds,
        totals["requested"],
        totals["kept"],
        totals["failed"],
        sum(death["rerouted"] for death in deaths.values()),
        problems,
    )


def _config(folder: Path, urls: dict[str, str], prompts: int, number: int) -> dict[str, Any]:
    source = folder / "prompts.jsonl"
    if not source.exists():
        rows = [
            {"prompt_id": f"p{i}", "prompt": f"Soru {i}? 質問 سؤال", "language": LANGUAGES[i % 10]}
            for i in range(prompts)
        ]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shared = {
        "backend": "openai",
        "model": "stand-in",
        "max_concurrency": 8,
        "dead_after_s": 0.5,
        "timeout_s": 5.0,
    }
    return {
        "run": {
            "seed": number,
            "samples": 2,
            "shard_size": 200,
            "output": str(folder / "runs"),
        },
        "prompts": {"source": str(source)},
        "teachers": [{"name": name, "base_url": url, **shared} for name, url in urls.items()],
    }


def plan(deaths: int, draw: random.Random) -> list[str]:
    """Who dies in each run: two at once in two of three."""
    runs: list[str] = []
    while deaths:
        count = min(deaths, 1 if len(runs) % 3 == 2 else 2)
        runs.append("".join(sorted(draw.sample(TEACHERS, count))))
        deaths -= count
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PREFECT_HOME"] = f"{folder}/prefect"
        from arbitrage.flows.settings import prepare_prefect

        prepare_prefect()
        from prefect.testing.utilities import prefect_test_harness

        print("run  killed  after s  seconds  requested   kept  failed  rerouted  verify")
        bad = died = 0
        with prefect_test_harness(server_startup_timeout=120):
            for number, names in enumerate(plan(arguments.deaths, draw)):
                after_s = draw.uniform(0.0, 1.2)
                run = one_run(Path(folder), names, after_s, arguments.prompts, number)
                died += len(names)
                bad += bool(run.problems)
                verdict = "; ".join(run.problems) or "ok"
                print(
                    f"{number:3}  {names:6}  {after_s:7.2f}  {run.seconds:7.1f}  "
                    f"{run.requested:9}  {run.kept:5}  {run.failed:6}  {run.rerouted:8}  {verdict}",
                    flush=True,
                )
    print(f"{died} deaths, {bad} runs with a problem")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""kill -9 at random moments, run again, until it finishes: are the rows those of a quiet run?

Target: `verify` ok, the same rows (candidate_id, text, kept) as an undisturbed run, none lost, none
twice; requests sent again at most those in flight plus one commit group a kill, counted at the
server. With --signal INT or TERM: the exit code is 130, the work is saved, nothing is sent again.

A teacher that counts (tests/stand_in_server.py, in this process) answers over HTTP; `arbitrage
run` is a child process whose whole group is killed at a random moment: three of four after its
first request, within half the time generation takes, the fourth anywhere in the length of an
undisturbed run. A run that ends before its kill is checked, and the next one begins afresh. Exits
with 1 where anything is not as it should be.

Example: python benches/kill.py --kills 20 --seed 1
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measured
import servers
import synthetic

SHARD_SIZE = 100
CONCURRENCY = 16
LATENCY_MS = 200
INTERRUPTED = 130
STAGES = ("starting", "generating", "deciding and later", "finished")

CONFIG = """
[run]
name = "kill"
output = "{output}"
shard_size = {shard_size}
samples = 2
[prompts]
source = "{prompts}"
text = "column:prompt"
id = "column:prompt_id"
language = "column:language"
[[teachers]]
name = "stand-in"
backend = "openai"
base_url = "{base_url}"
max_concurrency = {concurrency}
[router]
kind = "single"
teacher = "stand-in"
[filters.language_id]
min_match = 1
[filters.length]
min_words = 6
[filters.lexical_diversity]
[select]
objective = "maximize:lexical_diversity.mtld"
[views.sft]
[views.preference]
"""


@dataclass(slots=True)
class Disturbed:
    """One run from its start to its end, through any number of kills."""

    run: str
    stages: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    in_flight: int = 0
    sent_before: int = 0

    @property
    def kills(self) -> int:
        return self.stages.total()


@dataclass(frozen=True, slots=True)
class Moment:
    """When a life ends: `delay_s` after its first request (`generating`), or after its start."""

    generating: bool
    delay_s: float


class Bench:
    """The config, the servers and the reference that all runs share."""

    def __init__(
        self, scratch: Path, teacher: Any, environment: dict[str, str], prompts: int
    ) -> None:
        self.output = scratch / "runs"
        self.teacher = teacher
        self.environment = environment
        self.shards = -(-prompts // SHARD_SIZE)
        self.generation_s = prompts * LATENCY_MS / 1000 / CONCURRENCY
        table = scratch / "prompts.parquet"
        synthetic.Corpus().write_prompts(table, prompts)
        self.config = scratch / "run.toml"
        self.config.write_text(
            CONFIG.format(
                output=self.output,
                prompts=table,
                base_url=teacher.base_url,
                shard_size=SHARD_SIZE,
                concurrency=CONCURRENCY,
            )
        )

    def start(self, run: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "arbitrage.flows.cli", "run", str(self.config)]
        return subprocess.Popen(
            [*command, "--run-id", run],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def undisturbed(self) -> float:
        """Make the reference run; returns its seconds."""
        start = time.monotonic()
        process = self.start("undisturbed")
        _, said = process.communicate()
        if process.returncode not in (0, 3):
            sys.exit(f"the undisturbed run ended with {process.returncode}: {said.decode()}")
        return time.monotonic() - start

    def live(self, disturbed: Disturbed, moment: Moment, number: int) -> bool:
        """One life of a run, ended by the signal at its moment; False where it ended before."""
        before = self.teacher.stats.requests
        process = self.start(disturbed.run)
        try:
            while moment.generating and self.teacher.stats.requests == before:
                if process.poll() is not None:
                    break
                time.sleep(0.005)
            _, said = process.communicate(timeout=moment.delay_s)
        except subprocess.TimeoutExpired:
            disturbed.in_flight += self.teacher.stats.in_flight
            os.killpg(process.pid, number)
            process.communicate()
            stage = self.stage(disturbed.run, self.teacher.stats.requests > before)
            disturbed.stages[stage] += 1
            if stage == "generating":
                disturbed.exits[process.returncode] += 1
            return True
        if process.returncode not in (0, 3):
            sys.exit(f"{disturbed.run} ended with {process.returncode}: {said.decode()}")
        return False

    def stage(self, run: str, asked: bool) -> str:
        """How far a run had come when it was ended."""
        folder = self.output / run
        if (folder / "manifest.json").exists():
            return "finished"
        if len(list(folder.glob("unfinished/scored/*.arrow"))) == self.shards:
            return "deciding and later"
        return "generating" if asked else "starting"

    def rows(self, run: str) -> list[tuple[str, str | None, bool]]:
        from arbitrage.infra.store import open_run

        table = open_run(self.output / run).candidates.select("candidate_id", "text", "kept")
        return sorted(table.collect().iter_rows())

    def sent_again(self) -> int:
        """Requests that the server has seen before, over all runs so far."""
        return sum(count - 1 for count in list(self.teacher.stats.bodies.values()))

    def check(self, disturbed: Disturbed, reference: list[tuple[Any, ...]]) -> dict[str, Any]:
        """The row of the table for a run that has ended."""
        from arbitrage.infra.store.journal import GROUP_ROWS
        from arbitrage.infra.store.verify import verify_run

        rows = self.rows(disturbed.run)
        ids = Counter(row[0] for row in rows)
        # Every run asks each of the reference's requests once; what is beyond that was sent again.
        requests = len(reference) // 2
        again = self.sent_again() - disturbed.sent_before - requests
        return {
            "run": disturbed.run,
            "kills": disturbed.kills,
            **{stage: disturbed.stages[stage] for stage in STAGES},
            "in flight": disturbed.in_flight,
            "sent again": again,
            "allowed": disturbed.kills * (CONCURRENCY + GROUP_ROWS // 2),
            "lost": len({row[0] for row in reference} - ids.keys()),
            "twice": sum(count - 1 for count in ids.values()),
            "same rows": rows == reference,
            "verify": verify_run(self.output / disturbed.run).ok,
        }


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--kills", type=int, help="how many (default 20)")
    options.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    options.add_argument("--seed", type=int, default=1, help="fixes the moments")
    options.add_argument("--prompts", type=int, default=900)
    given = options.parse_args()
    kills = given.kills or (4 if given.quick else 20)
    where = measured.machine()
    with (
        servers.prefect_server() as prefect,
        servers.stand_in(LATENCY_MS) as teacher,
        tempfile.TemporaryDirectory(prefix="bench-kill-") as scratch,
    ):
        bench = Bench(Path(scratch), teacher, prefect.environment, given.prompts)
        rows, figures = disturb(bench, kills, signal.Signals[f"SIG{given.signal}"], given.seed)
    measured.show(where, rows, figures, as_json=given.json)
    sound = all(row["same rows"] and row["verify"] for row in rows) and all(
        row["sent again"] <= row["allowed"] for row in rows
    )
    if given.signal != "KILL":
        wrong = figures["exit codes while generating"].keys() - {str(INTERRUPTED)}
        sound = sound and not wrong and figures["requests sent again"] == 0
    sys.exit(0 if sound else 1)


def disturb(
    bench: Bench, kills: int, number: int, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run after run until `kills` of them were hit; rows of the table, and the figures."""
    moments = random.Random(seed)
    length_s = bench.undisturbed()
    reference = bench.rows("undisturbed")
    rows: list[dict[str, Any]] = []
    exits: Counter[int] = Counter()
    numbers, hit = itertools.count(1), 0

    def moment(count: int) -> Moment:
        generating = count % 4 != 3
        most_s = bench.generation_s / 2 if generating else length_s
        return Moment(generating, moments.uniform(0, most_s))

    while hit < kills:
        disturbed = Disturbed(f"disturbed-{next(numbers)}", sent_before=bench.sent_again())
        while bench.live(disturbed, moment(hit) if hit < kills else Moment(False, 600), number):
            hit += 1
        if not disturbed.kills:
            continue  # it ended before its moment came
        rows.append(bench.check(disturbed, reference))
        exits.update(disturbed.exits)
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name not in {"run"}}
    return rows, {
        "undisturbed run, s": round(length_s, 1),
        "rows of each run": len(reference),
        "kills": hit,
        **{f"kills while {stage}": total[stage] for stage in STAGES},
        "requests in flight at the kills": total["in flight"],
        "requests sent again": total["sent again"],
        "sent again beyond those in flight": sum(
            max(0, row["sent again"] - row["in flight"]) for row in rows
        ),
        "lost": total["lost"],
        "twice": total["twice"],
        "runs with the same rows and verified": sum(r["same rows"] and r["verify"] for r in rows),
        "runs": len(rows),
        "exit codes while generating": {str(code): count for code, count in exits.items()},
    }


if __name__ == "__main__":
    main()

"""kill -9 at random moments, run again, until it finishes: are the rows those of a quiet run?

Target: `verify` ok, the same rows (candidate_id, text, kept) as an undisturbed run, none lost, none
twice; of each kill, requests sent again at most those in flight plus one commit group, counted at
the server. With --signal INT or TERM: the exit code is 130, the work is saved, nothing is sent
again.

A teacher that counts (tests/stand_in_server.py, in this process) answers over HTTP; `arbitrage
run` is a child process whose whole group is killed at a random moment: three of four after its
first request, within half the time generation takes, the fourth anywhere in the length of an
undisturbed run. With --generating every kill is of the first kind, and one that came too early or
too late to hit generation does not count. A run that ends before its kill is checked, and the next
one begins afresh. Exits with 1 where anything is not as it should be.

A request that is sent again is laid to the kill of the process that sent it last. In flight at a
kill: what the server had not answered when the signal was sent, and what reached it afterwards.

Examples: python benches/kill.py --kills 20 --seed 1
          python benches/kill.py --kills 100 --generating
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
SAMPLES = 2
LATENCY_MS = 200
INTERRUPTED = 130
STAGES = ("starting", "generating", "deciding and later", "finished")

CONFIG = """
[run]
name = "kill"
output = "{output}"
shard_size = {shard_size}
samples = {samples}
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
class Kill:
    """One kill, in requests: those the server still worked on, those asked again because of it."""

    in_flight: int
    sent_again: int = 0

    @property
    def beyond(self) -> int:
        """Sent again although they had been answered: they were not in the journal yet."""
        return max(0, self.sent_again - self.in_flight)


@dataclass(slots=True)
class Disturbed:
    """One run from its start to its end, through any number of kills."""

    run: str
    stages: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    sent_before: int = 0
    last_life: dict[str, int] = field(default_factory=dict)

    def count(self, sent: Counter[str], life: int) -> None:
        """Lay each body that an earlier life had sent to the kill which ended that life."""
        for body in sent:
            if body in self.last_life:
                self.kills[self.last_life[body]].sent_again += 1
            self.last_life[body] = life


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
                samples=SAMPLES,
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

    def live(self, disturbed: Disturbed, moment: Moment, number: int) -> str:
        """One life of a run; the stage in which the signal ended it, "" where it ended before.

        A life's number is that of the kill which ends it.
        """
        stats, life = self.teacher.stats, len(disturbed.kills)
        before, bodies = stats.requests, Counter(stats.bodies)
        process = self.start(disturbed.run)
        try:
            while moment.generating and stats.requests == before:
                if process.poll() is not None:
                    break
                time.sleep(0.005)
            _, said = process.communicate(timeout=moment.delay_s)
        except subprocess.TimeoutExpired:
            in_flight, seen = stats.in_flight, stats.requests
            os.killpg(process.pid, number)
            process.communicate()
            while self.teacher.connections:  # until the server has read what was still on its way
                time.sleep(0.005)
            disturbed.kills.append(Kill(in_flight + stats.requests - seen))
            disturbed.count(Counter(stats.bodies) - bodies, life)
            stage = self.stage(disturbed.run, stats.requests > before)
            disturbed.stages[stage] += 1
            if stage == "generating":
                disturbed.exits[process.returncode] += 1
            return stage
        if process.returncode not in (0, 3):
            sys.exit(f"{disturbed.run} ended with {process.returncode}: {said.decode()}")
        disturbed.count(Counter(stats.bodies) - bodies, life)
        return ""

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
        requests = len(reference) // SAMPLES
        again = self.sent_again() - disturbed.sent_before - requests
        return {
            "run": disturbed.run,
            "kills": len(disturbed.kills),
            **{stage: disturbed.stages[stage] for stage in STAGES},
            "in flight": sum(kill.in_flight for kill in disturbed.kills),
            "sent again": again,
            "most beyond": max((kill.beyond for kill in disturbed.kills), default=0),
            # Each request that was sent again belongs to one kill; none to a retry without one.
            "allowed": again == sum(kill.sent_again for kill in disturbed.kills)
            and all(kill.beyond <= GROUP_ROWS // SAMPLES for kill in disturbed.kills),
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
    options.add_argument("--generating", action="store_true", help="count kills there only")
    given = options.parse_args()
    kills = given.kills or (4 if given.quick else 20)
    where = measured.machine()
    with (
        servers.prefect_server() as prefect,
        servers.stand_in(LATENCY_MS) as teacher,
        tempfile.TemporaryDirectory(prefix="bench-kill-") as scratch,
    ):
        bench = Bench(Path(scratch), teacher, prefect.environment, given.prompts)
        number = signal.Signals[f"SIG{given.signal}"]
        rows, figures = disturb(bench, kills, number, given.seed, generating=given.generating)
    measured.show(where, rows, figures, as_json=given.json)
    sound = all(row["same rows"] and row["verify"] and row["allowed"] for row in rows)
    if given.signal != "KILL":
        wrong = figures["exit codes while generating"].keys() - {str(INTERRUPTED)}
        sound = sound and not wrong and figures["requests sent again"] == 0
    sys.exit(0 if sound else 1)


def disturb(
    bench: Bench, kills: int, number: int, seed: int, *, generating: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run after run until there were `kills` kills; rows of the table, and the figures."""
    moments = random.Random(seed)
    length_s = bench.undisturbed()
    reference = bench.rows("undisturbed")
    rows: list[dict[str, Any]] = []
    exits: Counter[int] = Counter()
    numbers, hit = itertools.count(1), 0

    def moment(count: int) -> Moment:
        in_generation = generating or count % 4 != 3
        most_s = bench.generation_s / 2 if in_generation else length_s
        return Moment(in_generation, moments.uniform(0, most_s))

    while hit < kills:
        disturbed = Disturbed(f"disturbed-{next(numbers)}", sent_before=bench.sent_again())
        never = Moment(False, 600)
        while stage := bench.live(disturbed, moment(hit) if hit < kills else never, number):
            hit += stage == "generating" or not generating
        if not disturbed.kills:
            continue  # it ended before its moment came
        rows.append(bench.check(disturbed, reference))
        print(f"{hit} of {kills} kills", file=sys.stderr, flush=True)
        exits.update(disturbed.exits)
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name != "run"}
    return rows, {
        "undisturbed run, s": round(length_s, 1),
        "rows of each run": len(reference),
        "kills": total["kills"],
        **{f"kills while {stage}": total[stage] for stage in STAGES},
        "requests in flight at the kills": total["in flight"],
        "requests sent again": total["sent again"],
        "sent again beyond those in flight, most at one kill": max(r["most beyond"] for r in rows),
        "lost": total["lost"],
        "twice": total["twice"],
        "runs with the same rows and verified": sum(r["same rows"] and r["verify"] for r in rows),
        "runs": len(rows),
        "exit codes while generating": {str(code): count for code, count in exits.items()},
    }


if __name__ == "__main__":
    main()

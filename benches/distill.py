"""The whole distill on replay: rows a second, where the time goes, and Prefect's share of it.

Target: Prefect's share under 5 % at shard_size 1000 (20 shards).

The steps of flows/distill.py run twice per round on the same prompts: as the flow, against a
running Prefect server, and as the same task functions called one after another without Prefect.
Both do one shard at a time here (run.workers = 1), so that the difference is Prefect's alone: its
client and its server, which share the machine's cores with the run. Prefect's share of the time is
(flow - plain) / flow. As on the command line there are no heartbeats (flows/server.py): with them a
flow ends up to a second later, whatever its size. An empty flow is shown, and the share without it,
which is what more shards tend to. Its share of the CPU says the same of CPU seconds, its server's
included, and hardly depends on what else the machine does. Server start-up is apart.

Each prompt goes to two of three recorded teachers, whose answers are 200 to 1200 bytes long; the
filters are the quickstart's.

With --postgres the server has a PostgreSQL, whose CPU counts as Prefect's, and nothing runs with
two workers.

Example: python benches/distill.py --shards 20 --rounds 2
         python benches/distill.py --shards 1000 --shard-size 20 --rounds 1 --postgres
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measured
import servers
import synthetic

SHARD_SIZE = 1000
TEXT_BYTES = (200, 1200)
TEACHERS = ["command-r", "llama-3", "mixtral"]
FILTERS: dict[str, Any] = {
    "language_id": {"min_match": 1},
    "length": {"min_words": 5},
    "toxicity": {"max_toxicity": 0.5},
    "lexical_diversity": {"shortest_tokens": 30},
}


def config(
    scratch: Path,
    prompts: Path,
    recordings: Path,
    teachers: list[str],
    workers: int = 1,
    *,
    shard_size: int = SHARD_SIZE,
) -> Any:
    """A RunConfig on recorded answers, as the quickstart's with other data."""
    from arbitrage.config import RunConfig

    return RunConfig.model_validate(
        {
            "run": {
                "name": "bench",
                "output": str(scratch / "runs"),
                "shard_size": shard_size,
                "workers": workers,
                "max_failed_share": 1,
            },
            "prompts": {
                "source": str(prompts),
                "text": "column:prompt",
                "id": "column:prompt_id",
                "language": "column:language",
            },
            "teachers": [
                {"name": name, "backend": "replay", "recordings": str(recordings)}
                for name in teachers
            ],
            "router": {"kind": "uniform", "teachers_per_prompt": 2},
            "filters": FILTERS,
            "select": {"objective": "maximize:lexical_diversity.mtld", "per_prompt": 1},
            "views": {"sft": {}, "preference": {}},
        }
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds, and CPU seconds of this process and of Prefect's server."""

    wall_s: float
    client_cpu_s: float
    server_cpu_s: float


@contextmanager
def measuring(costs: list[Cost], server: servers.PrefectServer) -> Iterator[None]:
    """Append the cost of the block."""
    wall, client, served = time.perf_counter(), time.process_time(), server.cpu_s()
    yield
    costs.append(
        Cost(
            time.perf_counter() - wall,
            time.process_time() - client,
            server.cpu_s() - served,
        )
    )


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def timed(self, step: str, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.spent[step] += time.perf_counter() - start


def without_prefect(run_config: Any, clock: Clock) -> str:
    """The steps of flows/distill.py in its order, as plain calls; returns the run folder."""
    from contextlib import closing

    from arbitrage.infra.store.begin import open_run_folder
    from arbitrage.tasks.decide import decide_candidates, find_limits, merge_moments
    from arbitrage.tasks.generate import generate_candidates, open_teachers
    from arbitrage.tasks.prompts import load_prompts
    from arbitrage.tasks.publish import publish_run
    from arbitrage.tasks.route import route_prompts
    from arbitrage.tasks.score import score_candidates
    from arbitrage.tasks.views import write_view

    opened = open_run_folder(run_config, None, new=True)
    uri = str(opened.path)
    with closing(opened), open_teachers(uri):
        shards = clock.timed("load", load_prompts.fn, uri)
        for shard in range(shards):
            clock.timed("route", route_prompts, uri, shard)
            clock.timed("generate", generate_candidates, uri, shard)
            clock.timed("score", score_candidates, uri, shard)
        clock.timed("decide", merge_moments.fn, uri, shards)
        clock.timed("decide", find_limits.fn, uri, shards)
        clock.timed("decide", decide_candidates.fn, uri, list(range(shards)))
        views = {
            name: clock.timed(f"view {name}", write_view.fn, uri, name, shards)
            for name in run_config.views
        }
        clock.timed("publish", publish_run.fn, uri, shards, views)
    return uri


def timing_filters(clock: Clock) -> None:
    """From now on scoring tells the clock the time of each filter."""
    from arbitrage.filters import scoring

    measure = scoring.measure
    scoring.measure = lambda name, params, batch: clock.timed(
        f"  {name}", measure, name, params, batch
    )


def bench(
    given: Any, scratch: Path, server: servers.PrefectServer
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows (one a step) and figures; runs inside the environment of a Prefect server."""
    import prefect

    from arbitrage.flows.distill import distill
    from arbitrage.infra.store import open_run

    prompts, recordings = scratch / "prompts.parquet", scratch / "recordings.parquet"
    corpus, count = synthetic.Corpus(text_bytes=TEXT_BYTES), given.shards * given.shard_size
    corpus.write_prompts(prompts, count)
    corpus.write_recordings(recordings, count, TEACHERS, samples=1)
    size = given.shard_size
    one = config(scratch, prompts, recordings, TEACHERS, shard_size=size)
    two = config(scratch, prompts, recordings, TEACHERS, workers=2, shard_size=size)

    limited = one.model_copy(update={"prompts": one.prompts.model_copy(update={"limit": 200})})
    distill(limited, new=True)  # models load, Prefect compiles its schemas
    clock = Clock()
    timing_filters(clock)
    plain: list[Cost] = []
    flow: list[Cost] = []
    steps: dict[str, float] = {}
    uri = ""
    for _ in range(given.rounds):
        clock.spent.clear()
        with measuring(plain, server):
            uri = without_prefect(one, clock)
        steps = {step: steps.get(step, 0.0) + spent for step, spent in clock.spent.items()}
        with measuring(flow, server):
            distill(one, new=True)
    both: list[Cost] = []
    if not given.postgres:
        with measuring(both, server):
            distill(two, new=True)
    nothing: list[Cost] = []
    empty = prefect.flow(lambda: None, name="empty")
    for _ in range(4):
        with measuring(nothing, server):
            empty()

    candidates = open_run(uri).manifest["totals"]["candidates"]
    whole, through = (min(cost.wall_s for cost in costs) for costs in (plain, flow))
    fixed = min(cost.wall_s for cost in nothing[1:])
    work = min(cost.client_cpu_s for cost in plain)
    used = min(cost.client_cpu_s + cost.server_cpu_s for cost in flow)
    rows = [
        {
            "step": step,
            "s": spent / given.rounds,
            "share %": round(100 * spent / sum(cost.wall_s for cost in plain), 1),
            "candidates/s": round(candidates * given.rounds / spent),
        }
        for step, spent in steps.items()
    ]
    figures = {
        "prompts": count,
        "candidates": candidates,
        "shards": given.shards,
        "prompts a shard": given.shard_size,
        "database": "PostgreSQL" if given.postgres else "SQLite",
        "without Prefect, s": round(whole, 2),
        "flow with one worker, s": round(through, 2),
        **({"flow with two workers, s": round(both[0].wall_s, 2)} if both else {}),
        "flow with one worker, candidates/s": round(candidates / through),
        "Prefect's share of the time %": round(100 * (through - whole) / through, 1),
        "of which an empty flow, s": round(fixed, 2),
        "Prefect's share beyond an empty flow %": round(
            100 * (through - fixed - whole) / (through - fixed), 1
        ),
        "Prefect's share of the CPU %": round(100 * (used - work) / used, 1),
        "without Prefect, CPU s": round(work, 2),
        "flow, CPU s, Prefect's server not included": round(
            min(cost.client_cpu_s for cost in flow), 2
        ),
        "Prefect's server and database, CPU s": round(min(cost.server_cpu_s for cost in flow), 2),
    }
    if given.lcb is not None and not synthetic.absent(given.lcb):
        figures |= recorded(given.lcb, scratch)
    return rows, figures


def recorded(folder: Path, scratch: Path) -> dict[str, Any]:
    """The flow on recorded prompts and answers as they are."""
    from arbitrage.flows.distill import distill
    from arbitrage.infra.store import open_run

    teachers = ["command-r", "command-r-plus", "llama-3-instruct", "mistral-8x7b"]
    run_config = config(
        scratch, folder / "prompts.parquet", synthetic.recordings_file(folder), teachers
    )
    start = time.perf_counter()
    candidates = open_run(distill(run_config, new=True)).manifest["totals"]["candidates"]
    took = time.perf_counter() - start
    return {
        "recorded data, candidates": candidates,
        "recorded data, candidates/s": round(candidates / took),
    }


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--shards", type=int, help="how many (default 20)")
    options.add_argument("--shard-size", type=int, default=SHARD_SIZE, help="prompts of a shard")
    options.add_argument(
        "--postgres", action="store_true", help="Prefect on a PostgreSQL of the bench's own"
    )
    options.add_argument(
        "--rounds", type=int, default=2, help="repetitions; the quickest of each counts"
    )
    options.add_argument("--lcb", type=Path, metavar="DIR", help="also the recorded data in DIR")
    given = options.parse_args()
    given.shards = given.shards or (4 if given.quick else 20)
    if reason := synthetic.absent(given.lcb):
        print(reason, file=sys.stderr)
    where = measured.machine()
    with (
        servers.prefect_server(postgres=given.postgres) as server,
        tempfile.TemporaryDirectory(prefix="bench-distill-") as scratch,
    ):
        os.environ.update(server.environment)  # before anything imports prefect
        logging.disable(logging.CRITICAL)
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            rows, figures = bench(given, Path(scratch), server)
        figures["Prefect server start-up, s"] = round(server.startup_s, 1)
    measured.show(where, rows, figures, as_json=given.json)


if __name__ == "__main__":
    main()

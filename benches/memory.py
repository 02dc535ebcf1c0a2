"""Peak memory of a whole distill on replay at 10,000 and at 100,000 prompts, two samples each.

Target: the peak at 100,000 prompts is at most 1.3 times that at 10,000.

Each run is a process of its own, measured from inside: the most resident memory it ever had, and
the most it had at each stage. Prefect's server is another process and is not in the figure; its
client is. One recorded teacher answers with 200 to 1200 bytes; the filters are the quickstart's.

Example: python benches/memory.py --prompts 10000 100000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import measured
import servers
import synthetic

TEXT_BYTES = (200, 1200)
SAMPLES = 2
TEACHER = "command-r"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]))
        return
    options = measured.parser(__doc__)
    options.add_argument("--prompts", type=int, nargs="+", help="sizes, the smallest first")
    given = options.parse_args()
    sizes = given.prompts or ([1_000, 10_000] if given.quick else [10_000, 100_000])
    where = measured.machine()
    with servers.prefect_server() as server:
        rows = [measure(count, server.environment) for count in sizes]
    ratio = rows[-1]["peak MiB"] / rows[0]["peak MiB"]
    figures = {f"peak at {sizes[-1]} / peak at {sizes[0]} prompts": round(ratio, 2)}
    measured.show(where, rows, figures, as_json=given.json)


def measure(count: int, environment: dict[str, str]) -> dict[str, Any]:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as scratch:
        folder = Path(scratch)
        corpus = synthetic.Corpus(text_bytes=TEXT_BYTES)
        corpus.write_prompts(folder / "prompts.parquet", count)
        text_bytes = corpus.write_recordings(
            folder / "recordings.parquet", count, [TEACHER], SAMPLES
        )
        done = subprocess.run(
            [sys.executable, __file__, "--child", scratch],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
    seen = json.loads(done.stdout.splitlines()[-1])
    by_stage = seen.pop("by_stage")
    return {
        "prompts": count,
        "candidates": count * SAMPLES,
        "peak MiB": seen["peak"],
        **{f"{stage.replace('generating and ', '')} MiB": most for stage, most in by_stage.items()},
        "recorded text MiB": round(text_bytes / 2**20),
        "s": seen["s"],
    }


def child(folder: Path) -> None:
    """Distil what lies in the folder; prints the memory it took as JSON."""
    from distill import FILTERS

    from arbitrage.config import RunConfig
    from arbitrage.flows.distill import distill

    config = {
        "run": {"name": "bench", "output": str(folder / "runs"), "samples": SAMPLES},
        "prompts": {
            "source": str(folder / "prompts.parquet"),
            "text": "column:prompt",
            "id": "column:prompt_id",
            "language": "column:language",
        },
        "teachers": [
            {
                "name": TEACHER,
                "backend": "replay",
                "recordings": str(folder / "recordings.parquet"),
            }
        ],
        "router": {"kind": "single", "teacher": TEACHER},
        "filters": FILTERS,
        "select": {"objective": "maximize:lexical_diversity.mtld", "per_prompt": 1},
        "views": {"sft": {}, "preference": {}},
    }
    by_stage: defaultdict[str, float] = defaultdict(float)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(by_stage, over), daemon=True)
    watcher.start()
    start = time.perf_counter()
    distill(RunConfig.model_validate(config), new=True)
    took = time.perf_counter() - start
    over.set()
    watcher.join()
    stages = ("reading prompts", "generating and scoring", "deciding", "writing views")
    print(
        json.dumps(
            {
                "peak": peak_mib(),
                "by_stage": {stage: round(by_stage[stage]) for stage in stages},
                "s": round(took, 1),
            }
        )
    )


def _watch(by_stage: dict[str, float], over: threading.Event) -> None:
    from arbitrage.infra.progress import board

    page = os.sysconf("SC_PAGE_SIZE")
    while not over.wait(0.02):
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page / 2**20
        stage = board.read().stage
        by_stage[stage] = max(by_stage[stage], resident)


def peak_mib() -> int:
    """The most resident memory this program ever had.

    Not ru_maxrss: a child inherits its parent's there, and the parent wrote the recordings.
    """
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024)


if __name__ == "__main__":
    main()

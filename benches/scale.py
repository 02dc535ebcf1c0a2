"""What grows with the number of shards: the steps of one process that go over all of them.

A run of 10**8 prompts has 10**5 shards of 1,000. Shards are small here (30 prompts, 60 candidates
in 15 languages), since what is looked for is what a shard costs merging, views, publishing
(counts, totals, report, manifest), opening and verifying. One shard is made by the real steps; the
others are its files with ids of their own. Each size is a process of its own; memory is the most
that was resident during a step.

`growth` is the exponent of the CPU seconds between the smallest and the largest size: 1 is linear.

Example: python benches/scale.py --shards 300 3000
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured
import synthetic

PROMPTS = 30
TEACHERS = ["command-r", "llama-3", "mixtral"]
_CLEAR_PEAK = "5"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        with tempfile.TemporaryDirectory(prefix="bench-scale-") as scratch:
            print(json.dumps(child(Path(scratch), int(sys.argv[2]))))
        return
    options = measured.parser(__doc__)
    options.add_argument("--shards", type=int, nargs="+", help="sizes, the smallest first")
    given = options.parse_args()
    sizes = given.shards or ([30, 300] if given.quick else [300, 3_000])
    where = measured.machine()
    found = [of_size(size) for size in sizes]
    rows = []
    for step in found[0]:
        row: dict[str, Any] = {"step": step}
        for size, seen in zip(sizes, found, strict=True):
            row |= {f"CPU s at {size}": seen[step]["cpu_s"], f"MiB at {size}": seen[step]["mib"]}
        first, last = found[0][step]["cpu_s"], found[-1][step]["cpu_s"]
        times = math.log(sizes[-1] / sizes[0])
        row["growth"] = round(math.log(max(last, 1e-3) / max(first, 1e-3)) / times, 2)
        rows.append(row)
    measured.show(where, rows, {}, as_json=given.json)


def of_size(shards: int) -> dict[str, Any]:
    """Step -> what it took, in a process of its own."""
    command = [sys.executable, __file__, "--child", str(shards)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def child(scratch: Path, shards: int) -> dict[str, Any]:
    from contextlib import closing

    from distill import config

    from arbitrage.infra.store.begin import open_run_folder
    from arbitrage.infra.store.manifest import read_manifest
    from arbitrage.infra.store.open import open_run
    from arbitrage.infra.store.verify import verify_run
    from arbitrage.tasks.decide import merge_moments
    from arbitrage.tasks.publish import publish_run
    from arbitrage.tasks.views import write_view

    prompts, recordings = scratch / "prompts.parquet", scratch / "recordings.parquet"
    corpus = synthetic.Corpus(text_bytes=(200, 1200))
    corpus.write_prompts(prompts, PROMPTS)
    corpus.write_recordings(recordings, PROMPTS, TEACHERS, samples=1)
    opened = open_run_folder(config(scratch, prompts, recordings, TEACHERS), new=True)
    uri, seen = str(opened.path), {}

    def step(name: str, call: Callable[[], Any]) -> Any:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
        used = time.process_time()
        result = call()
        seen[name] = {"cpu_s": round(time.process_time() - used, 2), "mib": peak_mib()}
        return result

    with closing(opened):
        one_shard(uri)
        multiply(uri, shards)
        seen["(at rest)"] = {"cpu_s": 0.0, "mib": peak_mib()}
        step("merge moments", lambda: merge_moments.fn(uri, shards))
        views = {
            name: step(f"view {name}", lambda name=name: write_view.fn(uri, name, shards))
            for name in ("sft", "preference")
        }
        step("publish", lambda: publish_run.fn(uri, shards, views))
    run = open_run(uri)
    step("read manifest", lambda: read_manifest(run.folder))
    found = step("verify", lambda: verify_run(uri))
    assert found.problems == [], found.problems[:3]
    assert found.total("prompts") == shards * PROMPTS
    step("count candidates", lambda: open_run(uri).candidates.select("kept").collect())
    size = (run.folder / "manifest.json").stat().st_size
    seen["(manifest.json)"] = {"cpu_s": 0.0, "mib": round(size / 2**20, 1)}
    return seen


def one_shard(uri: str) -> None:
    from arbitrage.tasks.decide import decide_candidates, merge_moments
    from arbitrage.tasks.generate import generate_candidates, open_teachers
    from arbitrage.tasks.prompts import load_prompts
    from arbitrage.tasks.route import route_prompts
    from arbitrage.tasks.score import score_candidates

    with open_teachers(uri):
        assert load_prompts.fn(uri) == 1
        route_prompts(uri, 0)
        generate_candidates(uri, 0)
        score_candidates(uri, 0)
        merge_moments.fn(uri, 1)
        decide_candidates.fn(uri, [0])


def multiply(uri: str, shards: int) -> None:
    """Write the files of all other shards: those of the first one, under ids of their own."""
    from arbitrage.infra.store import layout
    from arbitrage.infra.store.run import attach

    run = attach(uri)
    folder = run.folder
    tables = {kind: folder.read_table(layout.part(kind, 0)) for kind in layout.PARTS}
    aside = {name: folder.read_json(layout.staged(name, 0, "json")) for name in ("plan", "moments")}
    commit = folder.read_json(layout.staged("committed", 0, "json"))
    fsync, os.fsync = os.fsync, lambda _: None  # making the run is not measured
    try:
        for shard in range(1, shards):
            entries = [
                folder.write_table(layout.part(kind, shard), renamed(table, shard)).to_json()
                for kind, table in tables.items()
            ]
            content = {"shard": shard, "files": entries, "counts": commit["counts"]}
            folder.write_json(layout.staged("committed", shard, "json"), content)
            for name, value in aside.items():
                folder.write_json(layout.staged(name, shard, "json"), value)
    finally:
        os.fsync = fsync


def renamed(table: Any, shard: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in ("prompt_id", "candidate_id"):
        if name in table.column_names:
            at = table.schema.get_field_index(name)
            ids = pc.binary_join_element_wise(table.column(name), pa.scalar(f"{shard:06d}"), "-")
            table = table.set_column(at, table.schema.field(at), ids)
    return table


def peak_mib() -> int:
    """The most resident memory since the peak was last cleared."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()

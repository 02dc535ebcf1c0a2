"""What grows with the number of shards, or of prompts: the steps of one process that go over all.

A run of 10**8 prompts has 10**5 shards of 1,000. Shards are small here (30 prompts, 60 candidates
in 15 languages), since what is looked for is what a shard costs merging, views, publishing
(counts, totals, report, manifest), opening, verifying and profiling. SHARDSxPROMPTS makes shards of
another size: what then costs the same goes by prompts and not by shards. One shard is made by the
real steps; the others are its files with ids of their own. Each size is a process of its own;
memory is the most that was resident during a step.

`continue` opens the run with one shard unfinished, as a process does that goes on after a kill, to
where it knows which shard to ask for.

`growth` is the exponent of the CPU seconds between the first and the last size: 1 is linear. All
sizes but the last are to have shards of one size for it to mean anything.

Example: python benches/scale.py --shards 1000 10000
         python benches/scale.py --shards 1000 30x1000
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
            print(json.dumps(child(Path(scratch), *size_of(sys.argv[2]))))
        return
    options = measured.parser(__doc__)
    options.add_argument(
        "--shards", nargs="+", help="sizes, the smallest first: SHARDS, or SHARDSxPROMPTS"
    )
    given = options.parse_args()
    sizes: list[str] = given.shards or (["30", "300"] if given.quick else ["300", "3000"])
    where = measured.machine()
    found = [of_size(size) for size in sizes]
    rows = []
    for step in found[0]:
        row: dict[str, Any] = {"step": step}
        for size, seen in zip(sizes, found, strict=True):
            row |= {f"CPU s at {size}": seen[step]["cpu_s"], f"MiB at {size}": seen[step]["mib"]}
        first, last = found[0][step]["cpu_s"], found[-1][step]["cpu_s"]
        (shards, prompts), (most, largest) = size_of(sizes[0]), size_of(sizes[-1])
        times = math.log(most * largest / (shards * prompts)) or math.nan
        row["growth"] = round(math.log(max(last, 1e-3) / max(first, 1e-3)) / times, 2)
        rows.append(row)
    measured.show(where, rows, {}, as_json=given.json)


def size_of(text: str) -> tuple[int, int]:
    """Shards, and prompts of a shard, of `SHARDS` or `SHARDSxPROMPTS`."""
    shards, _, prompts = text.partition("x")
    return int(shards), int(prompts or PROMPTS)


def of_size(size: str) -> dict[str, Any]:
    """Step -> what it took, in a process of its own."""
    command = [sys.executable, __file__, "--child", size]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def child(scratch: Path, shards: int, of: int) -> dict[str, Any]:
    from distill import config

    from arbitrage.infra.store.begin import open_run_folder
    from arbitrage.tasks.decide import merge_moments
    from arbitrage.tasks.publish import publish_run
    from arbitrage.tasks.views import write_view

    prompts, recordings = scratch / "prompts.parquet", scratch / "recordings.parquet"
    corpus = synthetic.Corpus(text_bytes=(200, 1200))
    corpus.write_prompts(prompts, of)
    corpus.write_recordings(recordings, of, TEACHERS, samples=1)
    made = config(scratch, prompts, recordings, TEACHERS, shard_size=of)
    opened = open_run_folder(made, new=True)
    uri, seen = str(opened.path), {}

    def step(name: str, call: Callable[[], Any]) -> Any:
        Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
        used = time.process_time()
        result = call()
        seen[name] = {"cpu_s": round(time.process_time() - used, 2), "mib": peak_mib()}
        return result

    try:
        one_shard(uri)
        multiply(uri, shards)
        seen["(at rest)"] = {"cpu_s": 0.0, "mib": peak_mib()}
        opened.close()
        opened = step("continue", lambda: go_on(made, shards))
        step("merge moments", lambda: merge_moments.fn(uri, shards))
        views = {
            name: step(f"view {name}", lambda name=name: write_view.fn(uri, name, shards))
            for name in ("sft", "preference")
        }
        step("publish", lambda: publish_run.fn(uri, shards, views))
    finally:
        opened.close()
    finished(uri, shards, of, seen, step)
    return seen


def finished(
    uri: str, shards: int, of: int, seen: dict[str, Any], step: Callable[..., Any]
) -> None:
    """The steps over a finished run."""
    from arbitrage.flows.explanation import explain_prompt
    from arbitrage.infra.report.dashboard import shown
    from arbitrage.infra.report.html import render_report
    from arbitrage.infra.report.profile import Profile
    from arbitrage.infra.store.manifest import read_manifest
    from arbitrage.infra.store.open import open_run
    from arbitrage.infra.store.verify import verify_run

    run = open_run(uri)
    step("read manifest", lambda: read_manifest(run.folder))
    step("of publish: report.html", lambda: render_report(run.folder.root, run.manifest))
    step("dashboard", lambda: shown(run.folder.root, run.manifest, uri))
    step("profile", lambda: Profile.of(run.folder.root))
    found = step("verify", lambda: verify_run(uri))
    assert found.problems == [], found.problems[:3]
    assert found.total("prompts") == shards * of
    step("count candidates", lambda: open_run(uri).candidates.select("kept").collect())
    last = run.table("prompts", shards - 1)["prompt_id"][0].as_py()
    step("explain", lambda: explain_prompt(uri, last))
    size = (run.folder / "manifest.json").stat().st_size
    seen["(manifest.json)"] = {"cpu_s": 0.0, "mib": round(size / 2**20, 1)}
    size = (run.folder / "report.html").stat().st_size
    seen["(report.html)"] = {"cpu_s": 0.0, "mib": round(size / 2**20, 2)}


def go_on(made: Any, shards: int) -> Any:
    """Open the run again, and find that the last shard is still to be scored."""
    from arbitrage.infra.store.begin import open_run_folder
    from arbitrage.tasks.left import left_to_score
    from arbitrage.tasks.prompts import load_prompts

    opened = open_run_folder(made)
    uri = str(opened.path)
    assert opened.how == "continued"
    load_prompts.fn(uri)
    assert left_to_score(uri, range(shards)) == [shards - 1]
    return opened


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
            for name in ("input", "rejected", "unroutable", "details", "scored"):
                # Of a shard that is scored nothing but this is looked at.
                os.link(folder / layout.staged(name, 0), folder / layout.staged(name, shard))
        (folder / layout.staged("scored", shards - 1)).unlink()
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

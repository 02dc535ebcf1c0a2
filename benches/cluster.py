"""Ray against threads on this machine: the same run on recorded answers, with the same filters.

Three teachers' recorded answers, two a prompt; the filters are the quickstart's, which hold the
interpreter lock for most of their time, so that two threads are no faster than one. Every run is
the command line in a process of its own against one Prefect server. Shown are the seconds of the
whole command, those between the first and the last scored shard with the shards a second in them
(what Ray's start takes is not in those), and CPU seconds of all processes of the run, Ray's own
included, which other work on the machine hardly changes.

Needs the extra `ray`: make ray, then .venv-ray/bin/python benches/cluster.py --shards 20
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import measured
import servers
import synthetic
from distill import TEACHERS, TEXT_BYTES, config

from arbitrage.infra.store import open_run
from arbitrage.infra.store.verify import verify_run

SHARD_SIZE = 1000
_LOOK_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--shards", type=int, help="of 1,000 prompts (default 20)")
    given = options.parse_args()
    shards = given.shards or (4 if given.quick else 20)
    where = measured.machine()
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as scratch:
        folder = Path(scratch)
        file = write_config(folder, shards)
        with servers.prefect_server() as server:
            rows = [
                measure(folder, file, runner, workers, server.environment)
                for runner, workers in (("threads", 1), ("threads", 2), ("ray", 2))
            ]
    measured.show(where, rows, {"shards": shards}, as_json=given.json)


def write_config(folder: Path, shards: int) -> Path:
    """The run of benches/distill.py as a file."""
    prompts, recordings = folder / "prompts.parquet", folder / "recordings.parquet"
    corpus = synthetic.Corpus(text_bytes=TEXT_BYTES)
    corpus.write_prompts(prompts, shards * SHARD_SIZE)
    corpus.write_recordings(recordings, shards * SHARD_SIZE, TEACHERS, samples=1)
    sections = config(folder, prompts, recordings, TEACHERS).resolved()
    lines = []
    for name, section in sections.items():
        for table in section if isinstance(section, list) else [section]:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    file = folder / "run.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def measure(
    folder: Path, file: Path, runner: str, workers: int, environment: dict[str, str]
) -> dict[str, Any]:
    """One run of the command line."""
    mark = f"BENCH_RUN={uuid.uuid4().hex}"
    run = folder / "runs" / f"{runner}-{workers}"
    sets = [f"run.runner={runner}", f"run.workers={workers}"]
    command = [sys.executable, "-m", "arbitrage.flows.cli", "run", str(file), "--run-id", run.name]
    command += [part for one in sets for part in ("--set", one)]
    env = {**environment, **dict([mark.split("=")]), "PYTHONPATH": os.pathsep.join(sys.path)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    scored: dict[str, float] = {}
    used: dict[tuple[int, str], float] = {}
    while process.poll() is None:
        used |= cpu_of(mark.encode())
        for path in run.glob("unfinished/scored/*.arrow"):
            if "tmp" not in path.name:
                scored.setdefault(path.name, time.perf_counter())
        time.sleep(_LOOK_S)
    took = time.perf_counter() - start
    assert process.returncode == 0, process.returncode
    times = sorted(scored.values())
    between = times[-1] - times[0]
    return {
        "runner": f"{runner}, {workers} at a time",
        "s, whole": round(took, 1),
        "s, first to last shard": round(between, 1),
        "shards/s in them": round((len(times) - 1) / between, 2),
        "CPU s, all processes": round(sum(used.values()), 1),
        "candidates": open_run(run).manifest["totals"]["candidates"],
        "verify": "ok" if verify_run(run).ok else "NOT OK",
    }


def cpu_of(mark: bytes) -> dict[tuple[int, str], float]:
    """CPU seconds so far of every living process started with this mark in its environment."""
    found: dict[tuple[int, str], float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                spent = (int(fields[11]) + int(fields[12])) / _TICKS
                found[int(folder.name), fields[19]] = spent
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


if __name__ == "__main__":
    main()

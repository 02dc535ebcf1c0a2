"""A run kept in an S3 bucket: its calls, its pace against a local disk, and what faults do to it.

Target: 50 injected faults of every kind over a run: `verify` ok, the rows of a local run, 0 lost,
0 twice.

Prompts in ten languages, two recorded teachers and the real steps without Prefect, so that what is
measured is the store. Calls: counted by a proxy (tests/storage_faults.py) in front of moto, in runs
of two sizes; a call per shard is the difference of the two by the difference in shards. Pace: rows
(candidates) per second of whole runs, local disk, moto and OpenStack Swift, one after the other,
the best of so many. Faults: as in tests/s3, at a third of all requests until so many are used up.

Needs the servers of `make s3`:

    ARBITRAGE_TEST_S3=$PWD/.venv-s3 python benches/s3.py
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import measured

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import object_stores
import run_configs
from storage_faults import FAULTS, FaultyStore, at_random

BUCKET = "bench"
SHARD_SIZE = 50


def config_of(
    folder: Path,
    prompts: int,
    output: str,
    *,
    shard_size: int = SHARD_SIZE,
    upload_every_s: float = 5.0,
    machine: str = "one",
) -> Any:
    data = run_configs.replay_data(folder, per_language=prompts // 10)
    data["run"] |= {"output": output, "shard_size": shard_size}
    if output.startswith("s3://"):
        data["run"]["storage"] = {
            "upload_every_s": upload_every_s,
            "timeout_s": 2.0,
            "work_folder": str(folder / machine),
        }
    return run_configs.parsed(data)


def timed_run(config: Any, run_id: str) -> tuple[Any, float]:
    began = time.perf_counter()
    place = run_configs.run_steps(config, run_id)
    return place, time.perf_counter() - began


def calls(proxy: FaultyStore, folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Calls of a run by kind, for each number of prompts, and per shard."""
    os.environ["AWS_ENDPOINT_URL"] = proxy.address
    found: list[tuple[int, float, Counter[tuple[str, str]]]] = []
    for prompts in sizes:
        config = config_of(folder, prompts, f"s3://{BUCKET}/calls")
        proxy.calls.clear()
        _, seconds = timed_run(config, f"calls-{prompts}")
        found.append((prompts // SHARD_SIZE, seconds, Counter(proxy.calls)))
    (few, few_s, first), (many, many_s, last) = found
    rows = []
    for kind in sorted(first | last):
        per_shard = (last[kind] - first[kind]) / (many - few)
        counted = {"call": " ".join(kind), f"{few} shards": first[kind]}
        rows.append(counted | {f"{many} shards": last[kind], "per shard": round(per_shard, 2)})
    seconds = {"call": "seconds", f"{few} shards": round(few_s, 1)}
    return [*rows, seconds | {f"{many} shards": round(many_s, 1), "per shard": None}]


def pace(stores: dict[str, str], folder: Path, prompts: int, tries: int) -> list[dict[str, Any]]:
    """Rows a second of whole runs on each store, and on the local disk."""
    best: dict[str, float] = {}
    for number in range(tries):
        for name, address in {"local disk": "", **stores}.items():
            os.environ["AWS_ENDPOINT_URL"] = address
            output = f"s3://{BUCKET}/pace" if address else str(folder / "local")
            _, seconds = timed_run(config_of(folder, prompts, output), f"pace-{number}")
            best[name] = min(seconds, best.get(name, seconds))
    return [
        {"store": name, "s": round(seconds, 2), "rows/s": round(2 * prompts / seconds)}
        for name, seconds in best.items()
    ]


def faults(proxy: FaultyStore, folder: Path, count: int, seeds: int) -> list[dict[str, Any]]:
    """Runs through `count` faults each, continued without their local folder halfway."""
    from arbitrage.infra.store.verify import verify_run

    os.environ["AWS_ENDPOINT_URL"] = proxy.address
    proxy.hang_s = 3.0
    quiet = config_of(folder, 300, str(folder / "quiet"), shard_size=10)
    local = run_configs.run_steps(quiet, "quiet")
    rows = []
    for seed in range(seeds):
        proxy.injected.clear()
        proxy.choose = at_random(seed=seed, faults=count, share=0.3)
        for machine, upto in (("one", "decided"), ("two", "published")):
            config = config_of(
                folder,
                300,
                f"s3://{BUCKET}/faults",
                shard_size=10,
                upload_every_s=0.1,
                machine=f"{machine}-{seed}",
            )
            place = run_configs.run_steps(config, f"faults-{seed}", upto=upto)
        proxy.choose = at_random(0, faults=0)
        found = verify_run(place)
        same = run_configs.stable_rows(str(place)) == run_configs.stable_rows(local)
        rows.append(
            {"seed": seed, "faults": sum(proxy.injected.values())}
            | {fault: proxy.injected[fault] for fault in FAULTS}
            | {"lost": found.missing, "twice": found.duplicates}
            | {"problems": len(found.problems), "rows as local": same}
        )
    return rows


def main() -> None:
    parser = measured.parser(__doc__)
    parser.add_argument("--prompts", type=int, default=3000, help="of the runs that are timed")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3, help="runs with faults")
    asked = parser.parse_args()
    if asked.quick:
        asked.prompts, asked.tries, asked.seeds = 500, 1, 1
    interpreter = object_stores.python()
    if interpreter is None:
        sys.exit("needs the servers of `make s3` and ARBITRAGE_TEST_S3=$PWD/.venv-s3")
    os.environ |= object_stores.KEYS
    with ExitStack() as ending, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        moto = ending.enter_context(object_stores.moto(interpreter, folder / "moto"))
        swift = ending.enter_context(object_stores.swift(interpreter, folder / "swift"))
        proxy = ending.enter_context(FaultyStore(moto))
        for address in (moto, swift):
            object_stores.client(address).create_bucket(Bucket=BUCKET)
        where = measured.machine()
        found = {
            "calls": calls(proxy, folder, [500, 1000] if asked.quick else [500, 2500]),
            "pace": pace({"moto": moto, "Swift": swift}, folder, asked.prompts, asked.tries),
            "faults": faults(proxy, folder, asked.faults, asked.seeds),
        }
    if asked.json:
        print(json.dumps({"machine": where, **found}, indent=2))
    else:
        for name, rows in found.items():
            print(f"\n{name}")
            measured.show(where, rows, {}, as_json=False)
    runs = found["faults"]
    sys.exit(any(r["lost"] or r["twice"] or r["problems"] or not r["rows as local"] for r in runs))


if __name__ == "__main__":
    main()

"""The whole scoring stage, documents a second: on one core, in two threads, in two processes.

All filters on the same batches of up to 1,000 recorded answers, texts cut once a batch, as a run
scores a shard. Threads are what one run uses for its shards (run.workers); processes are what
several workers of a work pool are to each other. A first pass, which loads models and tables, is
off the clock; seconds are wall time, so nothing else may run.

Example: python benches/scoring_cores.py --recorded DIR --filters language_id length toxicity
"""

from __future__ import annotations

import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import measured
import synthetic

from arbitrage.filters.base import Batch, Filter
from arbitrage.filters.scoring import compares
from arbitrage.registry import filters as registry

Texts = tuple[list[str], list[str]]


@cache
def built(names: tuple[str, ...]) -> list[Filter]:
    """The filters of this process."""
    return [registry.get(name).plugin(registry.get(name).params()) for name in names]


def score(names: tuple[str, ...], batch: Batch) -> int:
    synthetic.score_all(built(names), [batch])
    return len(batch)


def rate(pool: Executor, names: tuple[str, ...], texts: Texts, repeats: int) -> float:
    """Median documents a second over the repeats, after a pass that does not count."""
    rates = []
    for _ in range(repeats + 1):
        waiting = synthetic.batches(*texts, rows=min(1000, 1 + len(texts[0]) // 8))
        started = time.perf_counter()
        done = sum(pool.map(score, [names] * len(waiting), waiting))
        rates.append(done / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def main() -> int:
    parser = measured.parser(__doc__)
    parser.add_argument("--recorded", type=Path, default=synthetic.QUICKSTART, metavar="DIR")
    alone = [name for name in registry.names() if not compares(name)]
    parser.add_argument("--filters", nargs="+", default=alone, metavar="NAME")
    parser.add_argument("--documents", type=int, default=30_000, help="texts at most")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    if asked.quick:
        asked.documents, asked.repeats = min(asked.documents, 300), 1
    where, names = measured.machine(), tuple(asked.filters)
    texts = synthetic.recorded(asked.recorded, asked.documents)
    spawn = get_context("spawn")
    pools: dict[str, Executor] = {
        "one core": ThreadPoolExecutor(1),
        "two threads": ThreadPoolExecutor(2),
        "two processes": ProcessPoolExecutor(2, mp_context=spawn),
    }
    rows: list[dict[str, Any]] = []
    for name, pool in pools.items():
        with pool:
            found = rate(pool, names, texts, asked.repeats)
        first = rows[0]["documents/s"] if rows else found
        rows.append({"scored": name, "documents/s": round(found), "times one core": found / first})
    measured.show(where, rows, {"documents": len(texts[0])}, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

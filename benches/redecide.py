"""Deciding a finished run of 100,000 candidates again: seconds, and nothing is sent.

Target: seconds. The recordings that the teachers answer from are removed before, so that asking any
teacher would fail.

`arbitrage decide` without the command line around it: prompts and routes are linked, stored scores
are read, verdicts, choices and views are made anew, and a run folder with its hashes is written.
Each prompt has two recorded answers of 200 to 1200 bytes, in shards of 1,000 prompts; the filters
are the quickstart's. Making the run is not measured.

Example: python benches/redecide.py --shards 50
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measured
import synthetic
from distill import SHARD_SIZE, TEACHERS, TEXT_BYTES, Clock, config, without_prefect

CHANGES = {
    "its own config": [],
    "another threshold": ["filters.length.min_words=20"],
    "another objective, at most 2,000 a language": [
        "select.objective=minimize:toxicity.toxicity",
        "select.per_language=2000",
    ],
    "z-scores of two measures, exactly 2,000 a language": [
        "select.objective={'lexical_diversity.mtld'=1.0, 'toxicity.toxicity'=-1.0}",
        "select.exact=2000",
    ],
}


def bench(shards: int, scratch: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from arbitrage.flows.redecide import redecide
    from arbitrage.infra.store import open_run
    from arbitrage.infra.store.verify import verify_run

    prompts, recordings = scratch / "prompts.parquet", scratch / "recordings.parquet"
    corpus, count = synthetic.Corpus(text_bytes=TEXT_BYTES), shards * SHARD_SIZE
    corpus.write_prompts(prompts, count)
    corpus.write_recordings(recordings, count, TEACHERS, samples=1)
    run = Path(without_prefect(config(scratch, prompts, recordings, TEACHERS), Clock()))
    candidates = open_run(run).manifest["totals"]["candidates"]
    prompts.unlink()
    recordings.unlink()
    rows = []
    for number, (name, overrides) in enumerate(CHANGES.items()):
        start, used = time.perf_counter(), time.process_time()
        path = redecide(run, None, overrides, run_id=f"again-{number}")
        took, used = time.perf_counter() - start, time.process_time() - used
        rows.append(
            {
                "decided again with": name,
                "s": round(took, 1),
                "CPU s": round(used, 1),
                "candidates/s": round(candidates / took),
                "chosen": open_run(path).manifest["totals"]["chosen"],
                "verify": "ok" if verify_run(path).ok else "NOT OK",
            }
        )
    return rows, {"prompts": count, "candidates": candidates, "shards": shards}


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--shards", type=int, help="of 1,000 prompts (default 50)")
    given = options.parse_args()
    where = measured.machine()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="bench-redecide-") as scratch:
        rows, figures = bench(given.shards or (4 if given.quick else 50), Path(scratch))
    measured.show(where, rows, figures, as_json=given.json)
    sys.exit(any(row["verify"] != "ok" for row in rows))


if __name__ == "__main__":
    main()

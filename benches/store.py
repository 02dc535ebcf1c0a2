"""Writing the candidate store against raw Arrow IPC writing of the same table.

Target: at least 90 % of raw. All variants write the same record batches with the same compression;
they take turns within one run, and the figure is the ratio of their median times.

  raw           pa.ipc.new_file(...) and nothing more: after a power cut the file may be gone
  raw + fsync   the same, durable
  raw atomic    the same under a temporary name, renamed, folder fsynced: what the store promises,
                without the sha256 that the manifest needs
  store         Folder.write_table

Example: python benches/store.py --rows 1000 10000
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pyarrow as pa
import synthetic

from arbitrage.infra.store.files import Folder
from arbitrage.schema import GENERATED, candidates_schema, score_fields

OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
BATCH_ROWS = 8192
MEASURES = ("language_id.probability", "length.words", "toxicity.toxicity", "diversity.mtld")


def candidates(corpus: synthetic.Corpus, rows: int) -> pa.Table:
    """A table as `candidates/part-00000.arrow` holds it: two samples a prompt, scored, decided."""
    generator = np.random.default_rng(1)
    tags = [corpus.prompts[i // 2 % len(corpus.prompts)]["language"] for i in range(rows)]
    texts = corpus.answers(tags, generator)
    schema = candidates_schema(
        score_fields({name: {"filter": name} for name in MEASURES}, {"language_id.language": {}})
    )
    kept = (generator.random(rows) < 0.8).tolist()
    columns: dict[str, Any] = {
        "candidate_id": [hashlib.sha256(b"%d" % i).hexdigest()[:32] for i in range(rows)],
        "prompt_id": [synthetic.prompt_id(i // 2) for i in range(rows)],
        "language": tags,
        "teacher": [("command-r", "llama-3", "mixtral")[i // 2 % 3] for i in range(rows)],
        "sample_index": [i % 2 for i in range(rows)],
        "text": texts,
        "finish_reason": ["stop"] * rows,
        "completion_tokens": [len(text) // 4 for text in texts],
        "route_probability": [0.25] * rows,
        "router": ["uniform@1"] * rows,
        "params_hash": ["0123456789abcdef"] * rows,
        "created_at": [datetime(2026, 1, 1, 0, 0, i % 60, i, tzinfo=UTC) for i in range(rows)],
        "latency_ms": generator.gamma(4, 200, rows),
        "language_id.language": tags,
        "kept": kept,
        "reasons": [[] if keep else ["length.too_short"] for keep in kept],
        "chosen": kept,
        **{name: generator.random(rows) for name in MEASURES},
    }
    assert set(GENERATED.names) - set(columns) <= {
        "reasoning", "prompt_tokens", "sum_logprob", "cost_usd", "error"
    }  # fmt: skip
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def raw(path: Path, table: pa.Table) -> None:
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, table.schema, options=OPTIONS) as writer,
    ):
        writer.write_table(table, max_chunksize=BATCH_ROWS)


def raw_fsync(path: Path, table: pa.Table) -> None:
    with path.open("wb") as file:
        with pa.ipc.new_file(file, table.schema, options=OPTIONS) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
        file.flush()
        os.fsync(file.fileno())


def raw_atomic(path: Path, table: pa.Table) -> None:
    temporary = path.with_suffix(".tmp")
    raw_fsync(temporary, table)
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def times(table: pa.Table, rounds: int) -> tuple[dict[str, float], int]:
    """Median milliseconds of each variant, and the bytes of the file; the variants take turns."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as scratch:
        root = Path(scratch)
        folder = Folder(root)
        variants: dict[str, Callable[[int], Any]] = {
            "raw": lambda i: raw(root / f"raw-{i}", table),
            "raw + fsync": lambda i: raw_fsync(root / f"fsync-{i}", table),
            "raw atomic": lambda i: raw_atomic(root / f"atomic-{i}", table),
            "store": lambda i: folder.write_table(f"candidates/part-{i:05d}.arrow", table),
        }
        taken: dict[str, list[float]] = {name: [] for name in variants}
        for turn in range(-2, rounds):
            for name, write in variants.items():
                start = time.perf_counter()
                write(turn)
                if turn >= 0:
                    taken[name].append(time.perf_counter() - start)
        same = (root / "raw-0").read_bytes() == (root / "candidates/part-00000.arrow").read_bytes()
        if not same:
            sys.exit("the store's file differs from the raw one: the ratio would mean nothing")
        size = (root / "raw-0").stat().st_size
    return {name: 1000 * statistics.median(some) for name, some in taken.items()}, size


def main() -> None:
    options = measured.parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000], help="shard sizes")
    options.add_argument("--rounds", type=int, help="writes of each variant and size")
    options.add_argument("--lcb", type=Path, metavar="DIR", help="texts from recorded data in DIR")
    given = options.parse_args()
    where = measured.machine()
    rounds = given.rounds or (10 if given.quick else 60)
    corpora = {"synthetic": synthetic.Corpus()}
    if reason := synthetic.absent(given.lcb):
        print(reason, file=sys.stderr)
    else:
        corpora["recorded"] = synthetic.Corpus(given.lcb)
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    for name, corpus in corpora.items():
        for count in given.rows:
            table = candidates(corpus, count)
            medians, size = times(table, rounds)
            rows += [
                {
                    "written as": variant,
                    "text": name,
                    "rows": count,
                    "ms": taken,
                    "MB/s of Arrow": round(table.nbytes / taken / 1000),
                    "MB file": size / 1e6,
                    "store's share %": round(100 * taken / medians["store"], 1),
                }
                for variant, taken in medians.items()
            ]
            figures[f"store as % of raw + fsync, {name}, {count} rows"] = round(
                100 * medians["raw + fsync"] / medians["store"], 1
            )
    measured.show(where, rows, figures, as_json=given.json)


if __name__ == "__main__":
    main()

"""Make prompts.parquet and recordings.parquet from the Language Confusion Benchmark.

    python examples/quickstart/build.py LCB_FOLDER

LCB_FOLDER holds the benchmark (for-ai/language-confusion at the commit named in README.md) as two
tables: prompts.parquet (prompt_id, task, source, language, prompt) and completions.parquet
(prompt_id, teacher, completion). Nothing is drawn at random: the same input and the same pyarrow
give the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
# Okapi (non-commercial) and ShareGPT (no clear licence) prompts stay out.
SOURCES = ("aya_human_annotated", "complex_prompts", "dolly_human_edited", "native_prompts")
TEACHERS = ("command-r", "command-r-plus", "llama-3-instruct", "mistral-8x7b")
PROMPTS_PER_LANGUAGE = 20
# Longer complex prompts quote whole articles of third parties.
MAX_CHARACTERS = 1000
# Up to three neighbouring ids of complex_prompts are one task worded three ways.
WORDINGS = 3
# Prompts to which a teacher returned nothing: they show what a failed candidate is.
FAILED_PROMPTS = 2

PROMPTS = pa.schema(
    [(name, pa.string()) for name in ("prompt_id", "prompt", "language", "source", "task")]
)
RECORDINGS = pa.schema([(name, pa.string()) for name in ("prompt_id", "teacher", "completion")])

Row = dict[str, Any]


def order(prompt_id: str) -> str:
    """A fixed shuffle: the order of hashes has nothing to do with the order of the benchmark."""
    return hashlib.sha256(prompt_id.encode()).hexdigest()


def same_task(row: Row) -> str:
    """What two wordings of one task share; elsewhere the text, which upstream may repeat."""
    if row["source"] != "complex_prompts":
        return str(row["prompt"])
    stem, _, number = row["prompt_id"].rpartition("-")
    return f"{stem}-{int(number) // WORDINGS}"


def balanced(rows: Iterable[Row], count: int, first: frozenset[str]) -> list[Row]:
    """`count` rows, from the sources in turn, one wording a task; ids in `first` go first."""
    queues: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["prompt_id"] not in first, order(r["prompt_id"]))):
        queues[row["source"]].append(row)
    chosen: list[Row] = []
    tasks: set[str] = set()
    while len(chosen) < count and any(queues.values()):
        for source in sorted(queues):
            while queues[source]:
                row = queues[source].pop(0)
                if same_task(row) not in tasks and len(chosen) < count:
                    tasks.add(same_task(row))
                    chosen.append(row)
                    break
    return chosen


def write(rows: list[Row], schema: pa.Schema, name: str) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, HERE / name, compression="zstd", compression_level=19)
    print(f"{name}: {table.num_rows} rows, {(HERE / name).stat().st_size} bytes")


def main(folder: str) -> None:
    prompts = [
        row
        for row in pq.read_table(Path(folder) / "prompts.parquet").to_pylist()
        if row["source"] in SOURCES and len(row["prompt"]) <= MAX_CHARACTERS
    ]
    known = {row["prompt_id"] for row in prompts}
    recordings = [
        row
        for row in pq.read_table(Path(folder) / "completions.parquet").to_pylist()
        if row["prompt_id"] in known and row["teacher"] in TEACHERS
    ]
    unanswered = sorted({row["prompt_id"] for row in recordings if row["completion"] is None})
    first = frozenset(sorted(unanswered, key=order)[:FAILED_PROMPTS])
    by_language: dict[str, list[Row]] = defaultdict(list)
    for row in prompts:
        if row["prompt_id"] in first or row["prompt_id"] not in unanswered:
            by_language[row["language"]].append(row)
    chosen = [
        row
        for language in sorted(by_language)
        for row in sorted(
            balanced(by_language[language], PROMPTS_PER_LANGUAGE, first),
            key=lambda row: str(row["prompt_id"]),
        )
    ]
    ids = {row["prompt_id"] for row in chosen}
    kept = [row for row in recordings if row["prompt_id"] in ids]
    write(chosen, PROMPTS, "prompts.parquet")
    kept.sort(key=lambda row: (row["prompt_id"], row["teacher"]))
    write(kept, RECORDINGS, "recordings.parquet")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

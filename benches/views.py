"""Views of 10^6 candidates: rows a second, peak memory, and what pair controls change.

Speed: for each view a process of its own reads decided shards (1000 prompts of 4 candidates), makes
the view and writes it as `datasets.load_from_disk` reads it; beside it the same for a process that
reads the same shards and writes as many of their bytes. The shards hold the same recorded answers
over and over, put together anew, in another order with other ids.

Controls: all recorded answers to the quickstart's prompts, or to those of --lcb DIR, with lexical
diversity (MTLD) as the reward; characters of the chosen side over those of the rejected, and the
share of the teacher that is chosen most often, by pair params.

Example: python benches/views.py --candidates 1000000
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measured
import numpy as np
import polars as pl
import pyarrow as pa
import synthetic

from arbitrage import registry
from arbitrage.filters.base import Batch
from arbitrage.infra.store.files import Folder
from arbitrage.infra.views.saved import save_view
from arbitrage.infra.views.summary import Summary, total
from arbitrage.schema import PROMPTS, candidates_schema, conform, score_fields

K = 4
PROMPTS_A_SHARD = 1000
SCORES = score_fields({"bench.reward": {}}, {})
VIEWS: dict[str, dict[str, Any]] = {
    "read + write": {},
    "sft": {},
    "preference": {},
    "preference, capped": {"max_teacher_share": 0.5, "max_length_ratio": 2.0, "dedup": True},
    "kto": {},
    "rloo": {},
    "offpolicy": {},
}
CONTROLS: dict[str, dict[str, Any]] = {
    "best_worst": {},
    "best_worst, length ratio <= 1.5": {"max_length_ratio": 1.5},
    "best_worst, teacher share <= 0.4": {"max_teacher_share": 0.4},
    "both": {"max_length_ratio": 1.5, "max_teacher_share": 0.4},
    "best_random": {"policy": "best_random"},
    "near_tie": {"policy": "near_tie"},
}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), sys.argv[3])))
        return
    options = measured.parser(__doc__)
    options.add_argument("--candidates", type=int, help="default 1,000,000, or 40,000 with --quick")
    options.add_argument("--lcb", type=Path, help="recorded data with prompts and completions")
    given = options.parse_args()
    where = measured.machine()
    count = given.candidates or (40_000 if given.quick else 1_000_000)
    with tempfile.TemporaryDirectory(prefix="bench-views-") as scratch:
        write_shards(Path(scratch), count)
        rows = []
        for name in VIEWS:
            command = [sys.executable, __file__, "--child", scratch, name]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    measured.show(where, rows, {}, as_json=given.json)
    measured.show(
        {"pairs of": given.lcb or "quickstart"}, controls(given.lcb), {}, as_json=given.json
    )


def write_shards(folder: Path, count: int) -> None:
    """Decided shards with `count` candidates in all."""
    corpus = synthetic.Corpus(text_bytes=(200, 600))
    generator = np.random.default_rng(1)
    size = PROMPTS_A_SHARD * K
    asked = [corpus.prompts[i % len(corpus.prompts)] for i in range(PROMPTS_A_SHARD)]
    tags = [row["language"] for row in asked]
    answers = np.array(corpus.answers(np.repeat(tags, K).tolist(), generator), dtype=object)
    turns = [[{"role": "user", "content": row["prompt"]}] for row in asked]
    for shard in range(max(1, count // size)):
        ids = [f"{shard:05d}-{i:04d}" for i in range(PROMPTS_A_SHARD)]
        prompts = {
            "prompt_id": ids,
            "messages": turns,
            "language": tags,
            "source": ["b"] * len(ids),
        }
        # Another order within each prompt, so that answers stay in their language.
        order = np.argsort(generator.random((PROMPTS_A_SHARD, K)), axis=1)
        order += np.arange(PROMPTS_A_SHARD)[:, None] * K
        candidates = {
            "candidate_id": [f"{prompt}.{k}" for prompt in ids for k in range(K)],
            "prompt_id": np.repeat(ids, K),
            "language": np.repeat(tags, K),
            "teacher": ["abcd"[k] for k in range(K)] * PROMPTS_A_SHARD,
            "sample_index": np.zeros(size, np.int16),
            "text": answers[order.ravel()],
            "completion_tokens": np.full(size, 100, np.int32),
            "sum_logprob": np.full(size, -50, np.float32),
            "route_probability": np.full(size, 0.25, np.float32),
            "router": ["uniform@1"] * size,
            "params_hash": ["0"] * size,
            "created_at": pa.array(np.zeros(size, np.int64)).cast(pa.timestamp("us", tz="UTC")),
            "bench.reward": generator.normal(size=size).astype(np.float32),
            "kept": np.ones(size, bool),
            "reasons": pa.array([[]] * size, pa.list_(pa.string())),
            "chosen": np.tile([True] + [False] * (K - 1), PROMPTS_A_SHARD),
        }
        store = Folder(folder)
        store.write_table(f"prompts-{shard:05d}.arrow", conform(pa.table(prompts), PROMPTS))
        schema = candidates_schema(SCORES)
        store.write_table(f"candidates-{shard:05d}.arrow", conform(pa.table(candidates), schema))


def shards(folder: Path) -> Iterator[tuple[pa.Table, pa.Table, np.ndarray]]:
    """Each shard's prompts, candidates and rewards, read when it is its turn."""
    store = Folder(folder)
    for path in sorted(folder.glob("candidates-*.arrow")):
        candidates = store.read_table(path.name)
        rewards = candidates["bench.reward"].to_numpy().astype(np.float64)
        yield store.read_table(path.name.replace("candidates", "prompts")), candidates, rewards


def child(folder: Path, name: str) -> dict[str, Any]:
    """Make and write one view; what it took."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        path = Path(out) / "view"
        if name == "read + write":
            schema = pa.schema([("prompt_id", pa.string()), ("text", pa.string())])
            parts = (candidates.select(schema.names) for _, candidates, _ in shards(folder))
            saved = save_view((part.cast(schema) for part in parts), schema, path)
        else:
            entry = registry.views.get(name.partition(",")[0])
            view = entry.plugin(entry.params(**VIEWS[name]))
            if view.surveys:
                view = view.settled(view.survey(*shard[1:]) for shard in shards(folder))
            tables = (view.rows(*shard) for shard in shards(folder))
            saved = save_view(Summary().watched(tables), view.schema, path)
    seconds = time.perf_counter() - begun
    read = sum(1 for _ in folder.glob("candidates-*.arrow")) * PROMPTS_A_SHARD * K
    written = sum(entry.bytes for entry in saved.files)
    return {
        "view": name,
        "candidates": read,
        "rows": saved.rows,
        "written MiB": round(written / 2**20),
        "s": round(seconds, 1),
        "candidates/s": round(read / seconds),
        "MiB written/s": round(written / 2**20 / seconds, 1),
        "peak MiB": peak_mib(),
    }


def peak_mib() -> int:
    """The most resident memory of this process; getrusage would count the parent's before exec."""
    status = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024)


def controls(folder: Path | None) -> list[dict[str, Any]]:
    """Pairs of recorded answers under each of CONTROLS."""
    prompts, candidates, rewards = recorded(folder or synthetic.QUICKSTART)
    rows = []
    for name, params in CONTROLS.items():
        entry = registry.views.get("preference")
        view = entry.plugin(entry.params(**params))
        view = view.settled([view.survey(candidates, rewards)])
        summary = Summary()
        summary.add(view.rows(prompts, candidates, rewards))
        held = total(summary.to_json())
        teachers = held.get("teachers", {})
        most = max(teachers, key=teachers.__getitem__)
        rows.append(
            {
                "pairs": name,
                "count": held["rows"],
                "chosen / rejected characters": round(
                    held["chosen_characters"] / held["rejected_characters"], 3
                ),
                "mean margin": round(held["margin"] / held["rows"], 2),
                "most chosen": f"{most} {teachers[most] / held['rows']:.0%}",
            }
        )
    return rows


def recorded(folder: Path) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """One shard of all recorded answers, with their MTLD as rewards."""
    asked = pl.read_parquet(folder / "prompts.parquet").unique("prompt_id", maintain_order=True)
    answers = pl.read_parquet(synthetic.recordings_file(folder))
    both = answers.select("prompt_id", "teacher", "completion").join(
        asked.select("prompt_id", "prompt", "language"), on="prompt_id", maintain_order="left"
    )
    both = both.filter(pl.col("completion").is_not_null())
    entry = registry.filters.get("lexical_diversity")
    batch = Batch(*(both[name].to_list() for name in ("completion", "language", "prompt")))
    scores = entry.plugin(entry.params(shortest_tokens=30)).score(batch)
    size = len(both)
    candidates = {
        "candidate_id": [f"{i:08d}" for i in range(size)],
        "prompt_id": both["prompt_id"].to_list(),
        "language": both["language"].to_list(),
        "teacher": both["teacher"].to_list(),
        "sample_index": np.zeros(size, np.int16),
        "text": both["completion"].to_list(),
        "route_probability": np.ones(size, np.float32),
        "router": ["all@1"] * size,
        "params_hash": ["0"] * size,
        "created_at": pa.array(np.zeros(size, np.int64)).cast(pa.timestamp("us", tz="UTC")),
        "kept": np.ones(size, bool),
        "reasons": pa.array([[]] * size, pa.list_(pa.string())),
        "chosen": np.ones(size, bool),
    }
    turns = [[{"role": "user", "content": text}] for text in asked["prompt"].to_list()]
    prompts = {
        "prompt_id": asked["prompt_id"].to_list(),
        "messages": turns,
        "language": asked["language"].to_list(),
        "source": ["recorded"] * len(asked),
    }
    table = conform(pa.table(candidates), candidates_schema([]))
    rewards = np.asarray(scores.measures["mtld"], dtype=np.float64)
    return conform(pa.table(prompts), PROMPTS), table, rewards


if __name__ == "__main__":
    main()

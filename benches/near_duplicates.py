"""near_duplicate against datasketch's plain use, on the same words in the same run.

Texts are recorded answers (see benches/filters.py), and planted near-duplicates of every tenth of
them: one place of the text is written anew, so that their true similarity is known.

  ours          NearDuplicate.sketch in batches of 4,096, then one match
  datasketch    per text MinHash.update for each n-gram, MinHashLSH.query, then insert
  update_batch  the same with MinHash.update_batch

All begin at words that are cut already, look for 0.7 with 128 permutations, and are timed in CPU
seconds of the process, all threads. Recall is over planted pairs of a true similarity of 0.8 and
more: the original is among what is told (ours tells the nearest only; a nearer text than the
original counts as well). `false` are pairs told whose true similarity is below 0.6.

datasketch is no dependency: pip install datasketch.

With --match N only the matching of N made-up candidates is timed.

Example: python benches/near_duplicates.py --recorded DIR --documents 10000
"""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measured
import numpy as np
import pyarrow as pa
import synthetic

from arbitrage.filters.base import Batch
from arbitrage.filters.matching import KEYS, RunSketch
from arbitrage.filters.near_duplicate import NearDuplicate, NearDuplicateParams

_BATCH_ROWS = 4096
_LOWEST, _PERMUTATIONS = 0.7, 128
_WORTH_FINDING, _NOT_SIMILAR = 0.8, 0.6

# What a way tells: for each text the places of the texts it resembles.
Told = list[list[int]]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts cut into words, and where the planted ones came from."""

    batch: Batch
    planted: dict[int, int]
    unit: str

    def shingles(self, at: int) -> list[str]:
        """The n-grams of a text, as strings."""
        words = self.batch.words[at]
        if self.unit == "words":
            return [" ".join(words[at : at + 3]) for at in range(len(words) - 2)]
        text = "".join(words)
        return [text[at : at + 6] for at in range(len(text) - 5)]

    def similarity(self, one: int, other: int) -> float:
        first, second = set(self.shingles(one)), set(self.shingles(other))
        return len(first & second) / max(len(first | second), 1)


def planted(texts: list[str], languages: list[str], unit: str, chance: random.Random) -> Texts:
    """The texts, and after them near-duplicates of every tenth that is long enough."""
    scorer = NearDuplicateParams()
    lengths = [len(words) for words in Batch(texts, languages, [None] * len(texts)).words]
    texts, languages, origin = list(texts), list(languages), {}
    for place in range(0, len(lengths), 10):
        text = texts[place]
        if lengths[place] < scorer.shortest_words:
            continue
        size = max(1, round(len(text) * chance.uniform(0.01, 0.1)))
        at = chance.randrange(max(1, len(text) - size))
        other = chance.choice(texts[: len(lengths)])
        origin[len(texts)] = place
        texts.append(text[:at] + other[:size] + text[at + size :])
        languages.append(languages[place])
    batch = Batch(texts, languages, [None] * len(texts))
    assert batch.words  # cut before any clock runs
    return Texts(batch, origin, unit)


def ours(texts: Texts, unit: str | None = None) -> Told:
    params = {"lowest_similarity": _LOWEST, "scope": "all", "unit": unit or texts.unit}
    scorer = NearDuplicate(NearDuplicateParams.model_validate(params))
    batch = texts.batch
    parts = []
    for start in range(0, len(batch), _BATCH_ROWS):
        rows = slice(start, start + _BATCH_ROWS)
        part = Batch(batch.texts[rows], batch.languages[rows], batch.prompts[rows])
        part.__dict__["words"] = batch.words[rows]  # as another filter has left them
        parts.append(scorer.sketch(part))
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    ids = [str(at) for at in range(len(batch))]
    keys = pa.table([ids, ids, list(batch.languages)], schema=KEYS)
    of = scorer.match(RunSketch.of(keys, arrays)).labels["of"]
    return [[] if name is None else [int(name)] for name in of]


def datasketch(texts: Texts, *, at_once: bool) -> Told:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=_LOWEST, num_perm=_PERMUTATIONS)
    told: Told = []
    for place, words in enumerate(texts.batch.words):
        if len(words) < NearDuplicateParams().shortest_words:
            told.append([])
            continue
        sketch = MinHash(num_perm=_PERMUTATIONS)
        encoded = [shingle.encode() for shingle in texts.shingles(place)]
        if at_once:
            sketch.update_batch(encoded)
        else:
            for shingle in encoded:
                sketch.update(shingle)
        told.append(index.query(sketch))
        index.insert(place, sketch)
    return told


def row(name: str, texts: Texts, way: Callable[[], Told]) -> dict[str, Any]:
    start = time.process_time()
    told = way()
    taken = time.process_time() - start
    worth = {
        at: origin
        for at, origin in texts.planted.items()
        if texts.similarity(at, origin) >= _WORTH_FINDING
    }
    found = sum(
        origin in told[at]
        or any(texts.similarity(at, o) >= texts.similarity(at, origin) for o in told[at])
        for at, origin in worth.items()
    )
    pairs = [(at, other) for at, others in enumerate(told) for other in others]
    false = sum(texts.similarity(*pair) < _NOT_SIMILAR for pair in pairs)
    return {
        "way": name,
        "documents/s": round(len(texts.batch) / taken),
        "planted, 0.8 and more": len(worth),
        "recall": round(found / max(len(worth), 1), 4),
        "pairs told": len(pairs),
        "false": false,
    }


def by_language(texts: Texts) -> dict[str, Any]:
    """The share of planted texts that are told, whatever their similarity, for both units."""
    told = {unit: ours(texts, unit) for unit in ("characters", "words")}
    figures: dict[str, Any] = {}
    for language in sorted(set(texts.batch.languages)):
        mine = {a: o for a, o in texts.planted.items() if texts.batch.languages[a] == language}
        shares = [
            f"{name} {sum(bool(told[name][a]) for a in mine) / len(mine):.2f}"
            for name in told
            if mine
        ]
        figures[f"told of {len(mine)} planted, {language}"] = ", ".join(shares)
    return figures


def match_alone(count: int) -> dict[str, Any]:
    """Matching so many candidates from made-up signatures on disk: seconds, and peak memory of what
    it allocates (the memory-mapped signatures are the file cache's).

    A tenth are near copies, a twentieth equal, and a hundredth share a band with all others of it.
    """
    rng = np.random.default_rng(1)
    scorer = NearDuplicate(NearDuplicateParams())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "signatures"
        with path.open("wb") as file:
            previous = np.zeros((0, _PERMUTATIONS), np.uint32)
            for start in range(0, count, 50_000):
                rows = min(50_000, count - start)
                made = rng.integers(1, 2**32, (rows, _PERMUTATIONS), np.uint32)
                made[: rows // 100, :5] = 7
                if len(previous):
                    copies = made[rows // 10 : rows // 10 * 2]
                    copies[:] = previous[-len(copies) :]
                    copies[:, rng.integers(0, _PERMUTATIONS, 12)] += 1
                    equal = made[rows // 10 * 2 : rows // 10 * 2 + rows // 20]
                    equal[:] = previous[: len(equal)]
                file.write(made.data)
                previous = made
        signatures = np.memmap(path, np.uint32, "r", shape=(count, _PERMUTATIONS))
        texts = rng.integers(1, 2**63, (count, 2), np.uint64)
        ids = pa.array(f"{number:032x}" for number in range(count))
        prompts = pa.array(f"{number // 4:032x}" for number in range(count))
        languages = pa.array(["tr"] * count)
        keys = pa.table([ids, prompts, languages], schema=KEYS)
        tracemalloc.start()
        start = time.perf_counter()
        run = RunSketch.of(keys, {"text": texts, "signature": np.asarray(signatures)})
        scores = scorer.match(run)
        taken = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {
        "candidates matched": count,
        "of them near another": int((scores.measures["similarity"] > 0).sum()),
        "matching, s": round(taken, 1),
        "peak memory, bytes a candidate": round((peak + ids.nbytes) / count),
    }


def main() -> int:
    parser = measured.parser(__doc__)
    parser.add_argument("--recorded", type=Path, default=synthetic.QUICKSTART, metavar="DIR")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--unit", default="characters", choices=["characters", "words"])
    parser.add_argument("--match", type=int, metavar="N", help="match N made-up candidates only")
    parser.add_argument("--languages", action="store_true", help="recall by language as well")
    arguments = parser.parse_args()
    where = measured.machine()
    if arguments.match:
        measured.show(where, [], match_alone(arguments.match), as_json=arguments.json)
        return 0
    most = min(arguments.documents, 500) if arguments.quick else arguments.documents
    texts = planted(*synthetic.recorded(arguments.recorded, most), arguments.unit, random.Random(1))
    ours(texts)  # the library loads
    rows = [row("ours", texts, lambda: ours(texts))]
    figures: dict[str, Any] = {"documents": len(texts.batch)}
    if find_spec("datasketch") is None:
        figures["against datasketch"] = "not installed here"
    else:
        rows.append(row("datasketch", texts, lambda: datasketch(texts, at_once=False)))
        rows.append(row("update_batch", texts, lambda: datasketch(texts, at_once=True)))
        ratio = rows[0]["documents/s"] / rows[1]["documents/s"]
        figures["times as fast as datasketch's plain use"] = round(ratio, 1)
    whole = Batch(texts.batch.texts, texts.batch.languages, texts.batch.prompts)
    start = time.process_time()
    assert whole.words
    figures["cutting the words, documents/s"] = round(len(whole) / (time.process_time() - start))
    if arguments.languages:
        figures |= by_language(texts)
    measured.show(where, rows, figures, as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

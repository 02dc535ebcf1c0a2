"""The seam for filters that compare candidates of a run: sketch each alone, match all once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.filters.base import Batch, Filter, Scores

# What a sketch is kept with, to say which candidate it is of.
KEYS = pa.schema(
    [
        pa.field("candidate_id", pa.string()),
        pa.field("prompt_id", pa.string()),
        pa.field("language", pa.string()),
    ]
)


@dataclass(frozen=True)
class RunSketch:
    """Every candidate of a run in its one order: shard, prompt, teacher, sample.

    Candidates of earlier runs stand before those of the run itself. The order comes from the input
    alone, so what is matched does not depend on time, threads, shard size or a resume.

    Attributes:
        arrays: what `RunFilter.sketch` made, by name, each of shape [n, ...]; may be memory-mapped.
        ids: n candidate ids; `RUN/ID` for those of an earlier run.
        languages: int32 [n], equal numbers for equal wanted languages.
        prompts: int32 [n], equal numbers for equal prompt ids.
        first: row of the run's own first candidate.
    """

    arrays: Mapping[str, NDArray[Any]]
    ids: pa.ChunkedArray
    languages: NDArray[np.int32]
    prompts: NDArray[np.int32]
    first: int = 0

    def __len__(self) -> int:
        return len(self.languages)

    @classmethod
    def of(cls, keys: pa.Table, arrays: Mapping[str, NDArray[Any]], first: int = 0) -> RunSketch:
        """From KEYS rows and the sketches of the same rows."""
        return cls(
            arrays, keys.column("candidate_id"), _codes(keys, "language"),
            _codes(keys, "prompt_id"), first,
        )  # fmt: skip


class RunFilter(Filter):
    """A filter whose scores depend on the other candidates of the run. One file, like any other.

    `sketch` runs shard by shard while the run generates; `match` runs once, over the sketches of
    all shards, before the run decides. Texts are seen by `sketch` only.
    """

    @abstractmethod
    def sketch(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """What matching needs to know of each text: named arrays of shape [len(batch), ...].

        Pure, row by row, with the same names, types and trailing shapes for every batch, the empty
        one too. Candidates without a text get zeros, which `match` must read as "no text".
        """

    @abstractmethod
    def match(self, run: RunSketch) -> Scores:
        """Scores of the rows from `run.first` on. Pure: the same sketches give the same scores."""

    def earlier_runs(self) -> Sequence[str]:
        """Folders of finished runs whose candidates come first; by default none."""
        return ()

    def score(self, batch: Batch) -> Scores:
        """Measure a batch as if it were the whole run; a label names a candidate by its place."""
        places = pa.array(map(str, range(len(batch))), pa.string())
        keys = pa.table([places, places, pa.array(batch.languages, pa.string())], schema=KEYS)
        return self.match(RunSketch.of(keys, self.sketch(batch)))


def sketch_keys(table: pa.Table) -> pa.Table:
    """KEYS rows of some candidates."""
    return table.select(KEYS.names).cast(KEYS)


def empty_sketch(scorer: RunFilter, rows: int) -> dict[str, NDArray[Any]]:
    """Zeros for the sketches of so many rows."""
    shapes = scorer.sketch(Batch([], [], []))
    return {name: np.zeros((rows, *a.shape[1:]), a.dtype) for name, a in shapes.items()}


def joined_keys(tables: Iterable[pa.Table]) -> pa.Table:
    """KEYS rows of several parts, in order."""
    return pa.concat_tables([KEYS.empty_table(), *tables])


def _codes(keys: pa.Table, column: str) -> NDArray[np.int32]:
    encoded = keys.column(column).combine_chunks().dictionary_encode("encode")  # nulls are equal
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)

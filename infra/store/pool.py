"""The input of an exact run: staged in pieces, each prompt with its place in its language's order.

The order is drawn by the run's seed and the prompt's id, so that whatever part of it is asked is a
sample of the whole input, also where the source is sorted.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from arbitrage import keys
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder

_PLACE = "place"
Spans = Mapping[str, tuple[int, int]]


class Pool:
    """Staged input rows of an unfinished run. `commit` once all pieces are staged."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def stage(self, piece: int, prompts: pa.Table, rejected: pa.Table) -> None:
        """Keep one piece of the input: PROMPTS rows, and GRAVEYARD rows of what was malformed."""
        self._folder.write_table(layout.staged("pool_rejected", piece), rejected)
        self._folder.write_table(layout.staged("pool", piece), prompts)

    def commit(self, pieces: int, seed: int) -> None:
        """Give every prompt its place. Holds some 30 bytes a prompt in memory while it does."""
        drawn: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        for piece in range(pieces):
            for language, prompt in self._rows(piece):
                drawn[language].append(keys.unit_interval(seed, "exact", prompt))
        places = {tag: iter(_ranks(np.array(numbers))) for tag, numbers in drawn.items()}
        for piece in range(pieces):
            ranks = [next(places[language]) for language, _ in self._rows(piece)]
            table = pa.table({_PLACE: pa.array(ranks, pa.uint32())})
            self._folder.write_table(layout.staged("places", piece), table)
        counts = {tag: len(numbers) for tag, numbers in sorted(drawn.items())}
        self._folder.write_json(layout.POOL, {"pieces": pieces, "languages": counts})

    @property
    def languages(self) -> dict[str, int]:
        """language -> its prompts."""
        found: dict[str, int] = self._content()["languages"]
        return found

    def prompts(self, spans: Spans) -> Iterator[pa.Table]:
        """PROMPTS rows whose place is in their language's [from, to), piece after piece."""
        for piece in range(self._content()["pieces"]):
            rows = self._folder.read_table(layout.staged("pool", piece))
            inside = self._inside(piece, rows, spans)
            if inside.any():
                yield rows.filter(pa.array(inside))

    def ids_outside(self, spans: Spans) -> Iterator[pa.Table]:
        """prompt_id and language of all others."""
        for piece in range(self._content()["pieces"]):
            rows = self._folder.read_table(layout.staged("pool", piece))
            outside = ~self._inside(piece, rows, spans)
            yield rows.select(["prompt_id", "language"]).filter(pa.array(outside))

    def rejected(self) -> Iterator[pa.Table]:
        """GRAVEYARD rows of malformed input."""
        for piece in range(self._content()["pieces"]):
            yield self._folder.read_table(layout.staged("pool_rejected", piece))

    def _inside(self, piece: int, rows: pa.Table, spans: Spans) -> np.ndarray:
        places = self._folder.read_table(layout.staged("places", piece)).column(_PLACE)
        bounds = pl.DataFrame(
            [(tag, start, stop) for tag, (start, stop) in spans.items()],
            schema={"language": pl.String, "start": pl.UInt32, "stop": pl.UInt32},
            orient="row",
        )
        frame = pl.DataFrame({"language": rows["language"], "place": places})
        frame = frame.join(bounds, on="language", how="left", maintain_order="left")
        place = pl.col("place")
        inside = (place >= pl.col("start")) & (place < pl.col("stop"))
        return frame.select(inside.fill_null(False)).to_series().to_numpy()

    def _rows(self, piece: int) -> Iterator[tuple[str, str]]:
        rows = self._folder.read_table(layout.staged("pool", piece))
        yield from zip(rows["language"].to_pylist(), rows["prompt_id"].to_pylist(), strict=True)

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = self._folder.read_json(layout.POOL)
        return content


def rows_at_once(tables: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The rows of many tables in tables of `size`, the last one shorter."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= size:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, size).combine_chunks()
            waiting, count = [whole.slice(size)], count - size
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def _ranks(numbers: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(numbers), dtype=np.uint32)
    ranks[np.argsort(numbers, kind="stable")] = np.arange(len(numbers), dtype=np.uint32)
    return ranks

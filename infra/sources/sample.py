"""A sample of a source of any size, even over languages, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.infra.sources.prompts import PromptChunk
from arbitrage.keys import unit_interval
from arbitrage.schema import PROMPTS


def sample_prompts(chunks: Iterable[PromptChunk], size: int, seed: int) -> pa.Table:
    """PROMPTS rows, at most `size` and of each language at most size / languages, in source order.

    Each prompt has a number fixed by the seed and its id; the lowest of each language are taken. So
    the sample depends neither on the order nor on the chunks of the source. Holds some chunks more
    than the sample in memory. With more languages than `size`, one prompt of each.
    """
    held, draws = PROMPTS.empty_table(), np.zeros(0)
    for chunk in chunks:
        fresh = [
            unit_interval(seed, "sample", key) for key in chunk.prompts["prompt_id"].to_pylist()
        ]
        held = pa.concat_tables([held, chunk.prompts])
        draws = np.concatenate([draws, fresh])
        if held.num_rows > 2 * size:
            held, draws = _lowest(held, draws, size)
    held, _ = _lowest(held, draws, size)
    return held.combine_chunks()


def _lowest(
    table: pa.Table, draws: NDArray[np.float64], size: int
) -> tuple[pa.Table, NDArray[np.float64]]:
    tags, codes = np.unique(
        np.array(table["language"].to_pylist(), dtype=object), return_inverse=True
    )
    order = np.lexsort((draws, codes))
    begins = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(tags)))])
    rank = np.empty(len(draws), dtype=np.int64)
    rank[order] = np.arange(len(draws)) - begins[codes[order]]
    kept = rank < max(1, size // max(1, len(tags)))
    return table.filter(pa.array(kept)), draws[kept]

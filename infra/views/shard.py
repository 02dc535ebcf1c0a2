"""One shard's candidates as arrays: who may be used, which prompt they answer, how long."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.infra.views.base import Rewards
from arbitrage.keys import normalise_text

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
LengthUnit = Literal["characters", "tokens"]


def as_numpy(values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Arrow values as numpy; a null number is NaN."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array


def answered(candidates: pa.Table) -> Mask:
    """bool [n]: has a text and did not fail."""
    mask: Mask = as_numpy(pc.and_(pc.is_valid(candidates["text"]), pc.is_null(candidates["error"])))
    return mask


def codes_of(column: pa.ChunkedArray) -> tuple[Rows, list[str]]:
    """int64 [n] and the names they stand for, in order of first appearance."""
    encoded = column.combine_chunks().dictionary_encode()
    return as_numpy(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()


def lengths(candidates: pa.Table, unit: LengthUnit) -> NDArray[np.float64]:
    """float64 [n]: characters (code points), or the server's token counts; NaN = not known."""
    column = candidates["completion_tokens"]
    if unit == "characters":
        column = pc.utf8_length(candidates["text"])
    return as_numpy(pc.cast(column, pa.float64()))


def hashes(values: pa.ChunkedArray | pa.Array, seed: int) -> Hashes:
    """uint64 [n]: xxh3 of each string with a seed: an order that no shard or machine changes."""
    return _each(values, lambda text: xxhash.xxh3_64_intdigest(text.encode(), seed=seed))


def text_hashes(texts: pa.ChunkedArray | pa.Array) -> Hashes:
    """uint64 [n]: equal where two texts read the same (NFC, white space folded); 0 = no text."""
    return _each(texts, lambda text: xxhash.xxh3_64_intdigest(normalise_text(text).encode()))


def mixed(left: Hashes, right: Hashes) -> Hashes:
    """uint64 [n]: one hash of two, of which the order matters.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    """
    value = left * np.uint64(0x9E3779B97F4A7C15) + right
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Hashes = value ^ (value >> np.uint64(31))
    return result


def ranked_places(groups: Rows, rewards: Rewards, rows: Rows) -> NDArray[np.int32]:
    """int32 [n]: the place by reward among the given rows of its prompt, 1 = best, 0 = not among
    them. Equal rewards share the better place."""
    order = rows[np.lexsort((rows, -rewards[rows], groups[rows]))]
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    tied = np.zeros(len(order), dtype=bool)
    tied[1:] = (np.diff(rewards[order]) == 0) & (np.diff(groups[order]) == 0)
    place = np.maximum.accumulate(np.where(tied, 0, np.arange(len(order))))
    place -= np.repeat(starts, sizes)
    places = np.zeros(len(groups), dtype=np.int32)
    places[order] = place + 1
    return places


def required(rewards: Rewards | None, view: str) -> Rewards:
    """The rewards, or a ConfigError where the run has none."""
    if rewards is None:
        raise ConfigError(
            f"the {view} view has no reward to rank candidates by.",
            mend='Set select.objective, for example "maximize:length.words".',
        )
    return rewards


def _each(values: pa.ChunkedArray | pa.Array, digest: Any) -> Hashes:
    found = np.zeros(len(values), dtype=np.uint64)
    for row, value in enumerate(values.to_pylist()):
        if value is not None:
            found[row] = digest(value)
    return found

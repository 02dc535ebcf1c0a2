"""The files of a run, some shards at a time: what is read of them is never the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

# Of a hundred shards of 30 prompts, or of one of 10,000, much the same is in memory.
_BYTES_AT_ONCE = 8 * 2**20
_FILES_AT_ONCE = 100


def parts(run: Path, kind: str) -> list[Path]:
    """The files of one kind, in the order of their shards."""
    return sorted((run / kind).glob("part-*.arrow"))


def batches(
    paths: Sequence[Path], *, size: int = _BYTES_AT_ONCE, files: int = _FILES_AT_ONCE
) -> Iterator[list[Path]]:
    """Files in batches of at most `size` bytes and `files` files, at least one of them."""
    batch: list[Path] = []
    taken = 0
    for path in paths:
        bytes_of = path.stat().st_size
        if batch and (taken + bytes_of > size or len(batch) == files):
            yield batch
            batch, taken = [], 0
        batch.append(path)
        taken += bytes_of
    if batch:
        yield batch


def answered(paths: Sequence[Path]) -> pl.LazyFrame:
    """Candidates of these files that have a text, kept or not."""
    return pl.scan_ipc(list(paths)).filter(pl.col("error").is_null(), pl.col("text").is_not_null())


def measures_of(frame: pl.LazyFrame) -> list[str]:
    """The columns of a run's candidates that are scores."""
    schema = frame.collect_schema()
    return [name for name, kind in schema.items() if "." in name and kind == pl.Float32]

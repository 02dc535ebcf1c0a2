"""Data sets of the Hugging Face hub, or local folders in its layout, streamed by `datasets`.

Written `hf:org/name`, with `?config=NAME&split=NAME&revision=NAME` where the data set has several.
Column types are those the data set declares. Not implemented: data sets that need a script.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from arbitrage.errors import ConfigError, SourceError, unknown_name
from arbitrage.infra.sources.records import (
    Header,
    RawRows,
    SourceFile,
    damaged,
    header_of_schema,
    rows_of_batch,
    shown,
)

PREFIX = "hf:"
_KEYS = ("config", "revision", "split")


def hub_file(path: str) -> SourceFile:
    """The source `hf:NAME?key=value`, not yet opened."""
    name, _, query = path.removeprefix(PREFIX).partition("?")
    for key, _value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            raise unknown_name(f"key of {PREFIX}", key, _KEYS, mend=f"Fix prompts.source = {path}.")
    if not name:
        raise ConfigError(f'"{path}" names no data set.', mend="Write hf:org/name.")
    return SourceFile(path, path, name.rstrip("/"), "hub", None, 0, None, name)


def read_header(file: SourceFile) -> Header:
    """Columns as the data set declares them, else as its first row has them."""
    dataset = _dataset(file)
    features = dataset.features
    if features is not None:
        return header_of_schema(features.arrow_schema)
    first = next(_tables(file, dataset, 1), None)
    return Header({}) if first is None else header_of_schema(first.schema)


def read_rows(
    file: SourceFile,
    header: Header,  # noqa: ARG001
    wanted: list[str],
    chunk_rows: int,
) -> Iterator[RawRows]:
    """Rows in the data set's order; a position is the 1-based row of the split."""
    done = 0
    for table in _tables(file, _dataset(file), chunk_rows):
        for batch in table.combine_chunks().to_batches():
            yield rows_of_batch(batch, wanted, done + 1)
            done += batch.num_rows


def _tables(file: SourceFile, dataset: Any, rows: int) -> Iterator[pa.Table]:
    done = 0
    try:
        for table in dataset.with_format("arrow").iter(batch_size=rows):
            yield table
            done += table.num_rows
    except (OSError, ValueError, pa.ArrowException, *_dataset_errors()) as error:
        raise damaged(file, f"after row {done}", error) from error


def _dataset(file: SourceFile) -> Any:
    import datasets  # noqa: PLC0415 - seconds to import, and only hub sources need it

    name, _, query = file.path.removeprefix(PREFIX).partition("?")
    asked = dict(parse_qsl(query))
    try:
        splits = datasets.load_dataset(
            name, asked.get("config"), revision=asked.get("revision"), streaming=True
        )
    except (OSError, ValueError, pa.ArrowException, *_dataset_errors()) as error:
        raise SourceError(
            f"{file.path} cannot be opened: {shown(str(error))}.",
            mend="Check the name, the network and HF_TOKEN; for a folder written by save_to_disk "
            "give the folder itself, without hf:.",
        ) from error
    split = asked.get("split", next(iter(splits)) if len(splits) == 1 else "train")
    if split not in splits:
        raise unknown_name(
            f"split of {file.path}", split, splits, mend="Add ?split=NAME to prompts.source."
        )
    return splits[split]


def _dataset_errors() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError  # noqa: PLC0415

    return (DatasetsError,)

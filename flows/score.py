"""Measuring any table of texts with the run's own filters, outside a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.filters.matching import sketch_keys
from arbitrage.filters.scoring import Sketches, compares, filter_columns, measure_rows
from arbitrage.infra.store.files import Folder, cannot_write
from arbitrage.infra.store.sketches import SketchStore
from arbitrage.languages import normalise_tag
from arbitrage.tasks.matching import match_stored

_ROWS_AT_ONCE = 16_384
_COLUMNS = ("text", "language", "prompt")


def score_file(
    source: Path,
    target: Path,
    filters: Mapping[str, Any],
    done: Callable[[int, int], None] = lambda *_: None,
) -> int:
    """Copy a parquet file with a column added per measure and label; returns its number of rows.

    A filter over a whole run takes the file for one; its labels name a row by its candidate_id
    where there is such a column, else by its number.

    Rows, their order, the other columns and the file's metadata stay as they are. A null text is
    not measured: its scores are null, as where a filter abstains. Memory is that of some thousand
    rows. `target` appears whole or not at all, and may be `source`.

    Args:
        source: columns text and language (BCP-47), and where there are such: prompt;
            finish_reason; prompt_id and teacher, which tell the samples of one prompt. Samples that
            stand more than 16,384 rows apart are measured as if of two prompts.
        done: called with the rows measured so far, and all of them.

    Raises:
        ConfigError: not parquet, a column missing, of another type or already there, a text that
            is not UTF-8, a language that is none. Nothing is written then.
        OutputError: `target` cannot be written.
        FilterError: a filter broke its contract.
    """
    fields = _fields(filters)
    try:
        with pq.ParquetFile(source) as parquet:
            schema = parquet.schema_arrow
            _check_columns(source, schema, fields)
            tags = _normalised_tags(source, parquet)
            total: int = parquet.metadata.num_rows
            matched = match_file(parquet, tags, filters, target.absolute().parent)
            scored = _scored(parquet, tags, filters, matched, done)
            whole = pa.schema([*schema, *fields], metadata=schema.metadata)
            Folder(target.parent).write(target.name, lambda file: _write(file, scored, whole))
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f'"{source}" cannot be read as parquet: {error}.', mend="Give a whole parquet file."
        ) from error
    except OSError as error:
        raise ConfigError(
            f'"{source}" cannot be read: {error.strerror or error}.', mend="Fix the path."
        ) from error
    return total


def _fields(filters: Mapping[str, Any]) -> list[pa.Field]:
    return [field for name, params in filters.items() for field in filter_columns(name, params)]


def _check_columns(source: Path, schema: pa.Schema, fields: list[pa.Field]) -> None:
    for name in ("text", "language"):
        if name not in schema.names:
            raise ConfigError(
                f'"{source}" has no column "{name}".',
                known=schema.names,
                mend="Rename the columns to text, language and, where there is one, prompt.",
            )
    for name in filter(schema.names.__contains__, _COLUMNS):
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ConfigError(
                f'the column "{name}" of "{source}" is {kind}, not string.', mend="Cast it."
            )
    there = [field.name for field in fields if field.name in schema.names]
    if there:
        raise ConfigError(
            f'"{source}" already has the column "{there[0]}".',
            mend="Drop it, or leave that filter out.",
        )


def _normalised_tags(source: Path, parquet: pq.ParquetFile) -> dict[str, str]:
    """Language as written -> BCP-47 tag, for every language of the file."""
    tags: dict[str, str] = {}
    for number, batch in enumerate(parquet.iter_batches(_ROWS_AT_ONCE, columns=["language"])):
        column = batch.column(0)
        for written in column.unique().to_pylist():
            if written in tags:
                continue
            try:
                tags[written] = normalise_tag(written or "")
            except ValueError as error:
                row = number * _ROWS_AT_ONCE + column.to_pylist().index(written)
                what = "it is missing" if written is None else error
                raise ConfigError(
                    f'the language of row {row} of "{source}" is not usable: {what}.',
                    mend="Give every row a BCP-47 tag, such as tr or zh-Hant.",
                ) from None
    return tags


def _scored(
    parquet: pq.ParquetFile,
    tags: Mapping[str, str],
    filters: Mapping[str, Any],
    matched: Mapping[str, NDArray[Any]],
    done: Callable[[int, int], None],
) -> Iterator[pa.Table]:
    so_far = 0
    fields = _fields(filters)
    alone = {name: params for name, params in filters.items() if not compares(name)}
    for table, shown in _parts(parquet, tags):
        scores = measure_rows(shown, _asked(table, shown), alone)
        for name, column in matched.items():
            scores[name] = column[so_far : so_far + table.num_rows]
        columns = [pa.array(scores[f.name], f.type, from_pandas=True) for f in fields]
        schema = pa.schema([*table.schema, *fields])
        so_far += table.num_rows
        yield pa.Table.from_arrays([*table.columns, *columns], schema=schema)
        done(so_far, parquet.metadata.num_rows)


def match_file(
    parquet: pq.ParquetFile, tags: Mapping[str, str], filters: Mapping[str, Any], folder: Path
) -> dict[str, NDArray[Any]]:
    """The columns of filters over a whole run, with the file for one: a first pass over its texts.

    What they keep of each row lies in a temporary folder below `folder` meanwhile.
    """
    over_run = {name: params for name, params in filters.items() if compares(name)}
    if not over_run:
        return {}
    try:
        temporary = TemporaryDirectory(prefix=".sketches-", dir=folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with temporary as place:
        store = SketchStore(Folder(place), "file")
        parts = []
        for number, (table, shown) in enumerate(_parts(parquet, tags)):
            sketches: Sketches = {}
            measure_rows(shown, _asked(table, shown), over_run, sketches)
            parts.append(f"{number:05d}")
            store.write(parts[-1], sketch_keys(shown), sketches)
        return {
            column: values
            for name, params in over_run.items()
            for column, values in match_stored(store, name, params, parts).items()
        }


def _parts(parquet: pq.ParquetFile, tags: Mapping[str, str]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Some thousand rows at a time: as they are, and as filters see them."""
    so_far = 0
    for batch in parquet.iter_batches(_ROWS_AT_ONCE):
        table = pa.Table.from_batches([batch])
        table.validate(full=True)  # text that is not UTF-8 is an error here, not in a filter
        yield table, _as_candidates(table, tags, so_far)
        so_far += table.num_rows


def _asked(table: pa.Table, shown: pa.Table) -> dict[str, str]:
    prompts = table.column("prompt").to_pylist() if "prompt" in table.column_names else []
    return dict(zip(shown.column("prompt_id").to_pylist(), prompts, strict=False))


def _as_candidates(table: pa.Table, tags: Mapping[str, str], first: int) -> pa.Table:
    """What filters look at; without prompt_id and teacher a row is its prompt's only sample.

    Args:
        first: number of the first row.
    """
    numbers = pa.array(map(str, range(first, first + table.num_rows)), pa.string())
    columns = {
        "candidate_id": numbers,
        "text": table.column("text").cast(pa.string()),
        "language": pa.array([tags[tag] for tag in table.column("language").to_pylist()]),
        "prompt_id": numbers,
        "teacher": pa.array([""] * table.num_rows),
        "finish_reason": pa.nulls(table.num_rows, pa.string()),
    }
    told = table.column_names
    if "prompt_id" in told and "teacher" in told:
        columns |= {name: table.column(name).cast(pa.string()) for name in ("prompt_id", "teacher")}
    if "candidate_id" in told:
        columns["candidate_id"] = table.column("candidate_id").cast(pa.string())
    if "finish_reason" in told:
        columns["finish_reason"] = table.column("finish_reason").cast(pa.string())
    return pa.table(columns)


def _write(file: BinaryIO, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    file.flush()
    os.fsync(file.fileno())

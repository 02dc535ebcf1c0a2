"""Exporting a view of a finished run in the columns and the file format of one trainer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage import registry
from arbitrage.errors import ConfigError, DamagedRunError, OutputError, unknown_name
from arbitrage.infra.store import layout
from arbitrage.infra.views.saved import (
    read_view,
    replaced_folder,
    save_view,
    view_schema,
    write_durably,
)
from arbitrage.infra.views.trainers import CONVERSIONS, llamafactory_registry
from arbitrage.schema import PROMPTS

Format = Literal["arrow", "parquet", "jsonl"]
Trainer = Literal["trl", "verl", "axolotl", "llamafactory", "openrlhf"]

FORMATS = ("arrow", "parquet", "jsonl")
ROW_GROUP = 10_000
TRAINERS = ("trl", "verl", "axolotl", "llamafactory", "openrlhf")


def export_view(run: Path, name: str, format: Format, trainer: Trainer, out: Path) -> list[Path]:
    """Write the view `name` of a finished run to a new folder, exactly as `trainer` reads it.

    Args:
        run: the run folder.
        name: a view of the run, or "prompts" (its routed prompts, for reinforcement learning).
        format: "arrow" is the layout of `datasets.load_from_disk` (for LLaMA-Factory one stream
            file, because its registry takes the name of the info file); "parquet" and "jsonl" are
            one file `NAME.FORMAT`.
        trainer: LLaMA-Factory also gets its registry, `dataset_info.json`.

    Returns the files written. Memory does not grow with the view. Raises ConfigError for a
    combination that no trainer reads, UnknownNameError for a name the run does not hold,
    OutputError where `out` is not empty or cannot be written.
    """
    check_fit(name, trainer, format)
    run, out = Path(run), Path(out)
    source, schema = _source(run, name)
    _check_out(out)
    convert = CONVERSIONS[name, trainer]
    target = convert(schema.empty_table(), 0).schema

    def tables() -> Iterator[pa.Table]:
        before = 0
        for batches in _grouped(source):
            table = pa.Table.from_batches(batches).combine_chunks()
            yield convert(table, before)
            before += table.num_rows

    if format == "arrow" and trainer != "llamafactory":
        return [out / entry.path for entry in save_view(tables(), target, out).files]
    file_name = f"{name}.{format}"
    with replaced_folder(out) as folder:
        _write_one(tables(), target, folder / file_name, format)
        files = [out / file_name]
        if trainer == "llamafactory":
            registry = json.dumps(llamafactory_registry(name, file_name), indent=2)
            write_durably(folder / "dataset_info.json", [registry.encode()])
            files.append(out / "dataset_info.json")
    return files


def check_fit(name: str, trainer: str, format: str) -> None:
    """Raise a ConfigError that lists what fits, where trainer, view and format do not."""
    if trainer not in TRAINERS:
        raise unknown_name("trainer", trainer, TRAINERS, mend="Fix --trainer.")
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS, mend="Fix --format.")
    trained = any(view == name for view, _ in CONVERSIONS)
    if not trained and name in registry.views.names():
        raise ConfigError(
            f'none of {", ".join(TRAINERS)} reads the view "{name}".',
            mend=f'Load it as it is: datasets.load_from_disk("RUN/views/{name}").',
        )
    if not trained:
        known = {view for view, _ in CONVERSIONS}
        raise unknown_name("view that can be exported", name, known, mend="Name one of them.")
    if (name, trainer) not in CONVERSIONS:
        views = [view for view, fits in CONVERSIONS if fits == trainer]
        trainers = [fits for view, fits in CONVERSIONS if view == name]
        raise ConfigError(
            f'{trainer} has no use for the view "{name}": it reads {", ".join(views)}.',
            mend=f'"{name}" fits --trainer {", ".join(trainers)}.',
        )
    if trainer == "verl" and format != "parquet":
        raise ConfigError(f"verl reads parquet, not {format}.", mend="Write --format parquet.")


def _source(run: Path, name: str) -> tuple[Iterable[pa.RecordBatch], pa.Schema]:
    if not run.is_dir():
        raise OutputError(f'there is no run folder "{run}".', mend="Name a finished run's folder.")
    if name == "prompts":
        parts = sorted((run / "prompts").glob("part-*.arrow"))
        return _prompt_batches(parts), PROMPTS
    views = run / layout.VIEWS
    names = sorted(path.name for path in views.glob("*/") if (path / "state.json").is_file())
    if name not in names:
        known = [*names, "prompts"]
        mend = f"Add [views.{name}] to its config and run `arbitrage decide`."
        raise unknown_name("view of this run", name, known, mend=mend)
    return read_view(views / name), view_schema(views / name)


def _prompt_batches(parts: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    for path in parts:
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        except (pa.ArrowException, OSError) as error:
            raise DamagedRunError(
                f'"{path}" cannot be read: {error}.', mend="Run `arbitrage verify` on the run."
            ) from error


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches together until they have ROW_GROUP rows, so that a Parquet row group is not tiny."""
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        if rows >= ROW_GROUP:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f'"{out}" is a file.', mend="Name a new folder with -o.")
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(
            f'"{out}" is not empty, and an export never overwrites.',
            mend="Name a new folder with -o, or empty that one.",
        )


def _write_one(tables: Iterable[pa.Table], schema: pa.Schema, path: Path, kind: Format) -> None:
    if kind == "jsonl":
        write_durably(path, map(_json_lines, tables))
        return
    with path.open("wb") as file:
        with _writer(file, schema, kind) as writer:
            for table in tables:
                writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())


def _writer(
    file: object, schema: pa.Schema, kind: Format
) -> pq.ParquetWriter | pa.RecordBatchWriter:
    if kind == "parquet":
        return pq.ParquetWriter(file, schema, compression="zstd")
    return pa.ipc.new_stream(file, schema)


def _json_lines(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pl.DataFrame(table).write_ndjson(buffer)
    return buffer.getvalue()

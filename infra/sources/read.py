"""Read prompts: files in order, rows in chunks, each row a prompt or a graveyard row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from arbitrage.config import PromptsConfig
from arbitrage.errors import ConfigError, SourceError
from arbitrage.infra.sources.kinds import READERS
from arbitrage.infra.sources.locate import locate_files
from arbitrage.infra.sources.plan import Plan, check_plan, plan_of
from arbitrage.infra.sources.prompts import PromptChunk, to_prompts
from arbitrage.infra.sources.records import Header, SourceFile, shown
from arbitrage.infra.sources.seen import SeenIds
from arbitrage.infra.sources.where import Condition

_PREFLIGHT_ROWS = 100
_PREFLIGHT_DROPPED = 10_000


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What a preflight saw of a source.

    Attributes:
        files: path of each file, in reading order.
        size: their bytes as they lie there, 0 for the hub.
        columns: column -> Arrow type of the first file, "any" where it declares none.
        rows: rows of all files before `where` and `limit`, None where only reading them would tell.
        sample: the first rows, at most 100, judged; it may be empty where `where` drops the first
            10,000 rows.
    """

    files: list[str]
    size: int
    columns: dict[str, str]
    rows: int | None
    sample: PromptChunk


@dataclass(frozen=True, slots=True)
class _Opened:
    """A source whose files and columns were found good."""

    files: list[SourceFile]
    headers: list[Header]
    plan: Plan
    condition: Condition | None
    limit: int | None
    seen: SeenIds = field(default_factory=SeenIds)


def read_prompts(
    config: PromptsConfig,
    *,
    chunk_rows: int = 1000,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[PromptChunk]:
    """Prompts of a source in chunks of 1 to `chunk_rows` input rows, in the source's order.

    Every file's header or footer is read, and every column checked, before this returns. The same
    source gives the same ids in the same order, whatever `chunk_rows` is.

    Args:
        config: the [prompts] section.
        chunk_rows: most input rows a chunk.
        storage_options: given to s3fs, such as `endpoint_url`: `source_options`.

    Raises SourceError or ConfigError, also later where a file turns out damaged deep inside, and at
    the end where there was no row.
    """
    if chunk_rows < 1:
        raise ConfigError(f"chunk_rows is {chunk_rows}.", mend="Read at least one row at a time.")
    opened = _open(config, storage_options)
    return _merged(_judged(opened, chunk_rows), chunk_rows, config)


def check_source(
    config: PromptsConfig, *, storage_options: Mapping[str, Any] | None = None
) -> SourceSummary:
    """Preflight: files found, headers and columns good, the first rows parse.

    Raises SourceError or ConfigError with the mend, also where none of the first 100 rows is a
    valid prompt: a wrong column is more likely than a hundred wrong rows.
    """
    asked = config.model_copy(update={"limit": min(config.limit or 100, _PREFLIGHT_ROWS)})
    opened = _open(asked, storage_options)
    sample: PromptChunk | None = None
    for chunk in _judged(opened, _PREFLIGHT_ROWS):
        sample = sample.joined(chunk) if sample else chunk
        if sample.dropped > _PREFLIGHT_DROPPED:
            break
    if sample is None or sample.rows + sample.dropped == 0:
        raise _empty(config, 0)
    if sample.rows and sample.prompts.num_rows == 0:
        first = sample.graveyard.slice(0, 1).to_pylist()[0]
        raise SourceError(
            f"none of the first {sample.rows} rows is a prompt: {first['origin']} "
            f"{first['reasons'][0]}, {first['detail']}.",
            mend="Check which columns [prompts] names.",
        )
    counts = [header.rows for header in opened.headers]
    known = [rows for rows in counts if rows is not None]
    return SourceSummary(
        files=[file.path for file in opened.files],
        size=sum(file.size for file in opened.files),
        columns={n: str(t) if t else "any" for n, t in opened.headers[0].types.items()},
        rows=sum(known) if len(known) == len(counts) else None,
        sample=sample,
    )


def _open(config: PromptsConfig, storage_options: Mapping[str, Any] | None) -> _Opened:
    condition = Condition(config.where) if config.where else None
    also = condition.columns if condition else []
    plan = plan_of(config)
    files, headers = [], []
    for file in locate_files(config.source, storage_options):
        header = READERS[file.kind].read_header(file)
        if not header.types and file.kind in ("jsonl", "csv", "tsv"):
            # Not a line in it: no fault while another file of the source has rows.
            continue
        check_plan(plan, header, file, also)
        if condition:
            condition.check(header.types, file)
        files.append(file)
        headers.append(header)
    if not files:
        raise _empty(config, 0)
    return _Opened(files, headers, plan, condition, config.limit)


def _judged(opened: _Opened, chunk_rows: int) -> Iterator[PromptChunk]:
    """Chunks as the files give them, `limit` applied; they may be small or hold no row."""
    left = opened.limit
    also = opened.condition.columns if opened.condition else []
    for file, header in zip(opened.files, opened.headers, strict=True):
        wanted = opened.plan.wanted(header, also)
        # A condition may drop most rows, so then the limit says nothing of how many to read.
        size = chunk_rows if left is None or opened.condition else min(chunk_rows, left)
        for raw in READERS[file.kind].read_rows(file, header, wanted, size):
            rows = opened.condition.keep(raw) if opened.condition else raw
            dropped = len(raw) - len(rows)
            if left is not None:
                rows = rows.take(np.arange(min(left, len(rows))))
                left -= len(rows)
            chunk = to_prompts(rows, opened.plan, file, opened.seen)
            yield PromptChunk(chunk.prompts, chunk.graveyard, chunk.rows, dropped)
            if left == 0:
                return


def _merged(
    chunks: Iterator[PromptChunk], chunk_rows: int, config: PromptsConfig
) -> Iterator[PromptChunk]:
    """Small neighbours joined up to `chunk_rows`, so that a thousand small files are not a
    thousand chunks."""
    held: PromptChunk | None = None
    for chunk in chunks:
        if held is None:
            held = chunk
        elif held.rows + chunk.rows <= chunk_rows:
            held = held.joined(chunk)
        else:
            yield held
            held = chunk
    if held is None or held.rows == 0:
        raise _empty(config, held.dropped if held else 0)
    yield held


def _empty(config: PromptsConfig, dropped: int) -> SourceError:
    if dropped:
        return SourceError(
            f"prompts.where = {shown(config.where or '')} keeps none of {dropped:,} rows.",
            mend="Loosen prompts.where.",
        )
    return SourceError(
        f"prompts.source = {shown(config.source)} holds no rows.", mend="Fix prompts.source."
    )

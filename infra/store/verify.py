"""Recompute a finished run's accounts from its files, and check every byte against the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from arbitrage.errors import DamagedRunError
from arbitrage.infra.sources.seen import SeenIds
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import FileEntry, Folder
from arbitrage.infra.store.manifest import read_manifest
from arbitrage.infra.store.s3.place import S3Place, is_s3, parse_s3
from arbitrage.infra.store.swap import finish_swap
from arbitrage.schema import GENERATED, GRAVEYARD, PROMPTS, ROUTES, VERDICTS

TOTALS = (
    "prompts",
    "unroutable",
    "requested",
    "candidates",
    "kept",
    "rejected",
    "failed",
    "chosen",
)
_KEY = ["prompt_id", "teacher", "sample_index"]
# What is read of each part. Score columns differ from run to run and are vouched for by the hash.
_READ = {
    "prompts": PROMPTS,
    "routes": ROUTES,
    "candidates": pa.schema([*GENERATED, *VERDICTS]),
    "graveyard": GRAVEYARD,
}


@dataclass(slots=True)
class Verification:
    """What a run holds, recounted from its files.

    `prompts` counts input rows: routed ones plus `unroutable` (malformed or without a teacher).
    `duplicates` and `missing` count candidates and prompts found twice, or asked for and not found.
    """

    shards: int = 0
    duplicates: int = 0
    missing: int = 0
    languages: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def total(self, name: str) -> int:
        return sum(counts[name] for counts in self.languages.values())

    def add(self, language: str | None, name: str, count: int) -> None:
        self.languages.setdefault(language or "und", Counter())[name] += count

    def to_json(self) -> dict[str, Any]:
        """The one JSON object `arbitrage verify` prints."""
        totals = {name: self.total(name) for name in TOTALS}
        return {
            "ok": self.ok,
            **totals,
            "duplicates": self.duplicates,
            "missing": self.missing,
            "shards": self.shards,
            "languages": {tag: dict(counts) for tag, counts in sorted(self.languages.items())},
            "problems": self.problems,
        }


def verify_run(path: str | Path | S3Place) -> Verification:
    """Check a run: hashes, bytes and rows of every file, duplicates, gaps, and the invariant.

    Never raises for damage: every problem found is a sentence in `problems`. README.md and
    report.html are renderings, not data, and are not checked. A run in an object store is
    downloaded for it, whatever a local folder holds of it.
    """
    if is_s3(path):
        from arbitrage.infra.store.s3.finished import brought_afresh  # noqa: PLC0415 - seldom used

        with brought_afresh(parse_s3(path)) as brought:
            found = verify_run(brought)
            found.problems = [text.replace(str(brought), str(path)) for text in found.problems]
            return found
    found = Verification()
    folder = Folder(Path(str(path)))
    finish_swap(folder)
    try:
        manifest = read_manifest(folder)
    except DamagedRunError as error:
        found.problems.append(str(error))
        return found
    found.shards = len(manifest["shards"])
    rows = _check_files(folder, manifest, found)
    _check_views(folder, manifest["views"], found)
    seen = SeenIds()
    for shard in range(found.shards):
        _check_shard(folder, shard, rows, seen, found)
    _check_totals(manifest, found)
    return found


def _check_files(folder: Folder, manifest: dict[str, Any], found: Verification) -> dict[str, int]:
    """Compare every file with its entry; returns the rows each is listed with."""
    listed = [FileEntry(**entry) for shard in manifest["shards"] for entry in shard["files"]]
    for view in manifest["views"].values():
        listed += [FileEntry(**entry) for entry in view["files"]]
    for entry in listed:
        try:
            whole = folder.entry(entry.path, entry.rows) == entry
        except FileNotFoundError:
            found.problems.append(f"{entry.path} is missing")
        except OSError as error:
            found.problems.append(f"{entry.path} cannot be read: {error.strerror or error}")
        else:
            if not whole:
                found.problems.append(
                    f"{entry.path} is not the file the manifest lists (sha256 differs)"
                )
    rows = {entry.path: entry.rows for entry in listed}
    for kind in (*layout.PARTS, layout.VIEWS):
        for name in folder.names(kind):
            if name not in rows:
                found.problems.append(f"{name} is not in the manifest")
    return rows


def _check_views(folder: Folder, views: dict[str, Any], found: Verification) -> None:
    for name, view in views.items():
        counted = 0
        for entry in view["files"]:
            if entry["path"].endswith(".arrow"):
                try:
                    with (
                        pa.memory_map(str(folder / entry["path"])) as source,
                        pa.ipc.open_stream(source) as reader,
                    ):
                        counted += sum(batch.num_rows for batch in reader)
                except (pa.ArrowException, OSError, ValueError) as error:
                    found.problems.append(f"{entry['path']} cannot be read: {error}")
        if counted != view["rows"]:
            listed = view["rows"]
            found.problems.append(f"view {name}: {counted} rows in its files, {listed} listed")


def _check_shard(
    folder: Folder, shard: int, rows: dict[str, int], seen: SeenIds, found: Verification
) -> None:
    tables: dict[str, pl.DataFrame] = {}
    for kind in layout.PARTS:
        name = layout.part(kind, shard)
        try:
            tables[kind] = _read_part(folder, name, _READ[kind])
        except (DamagedRunError, pa.ArrowException) as error:
            found.problems.append(str(error))
            return
        if tables[kind].height != rows.get(name):
            found.problems.append(f"{name}: {tables[kind].height} rows, {rows.get(name)} listed")
    _check_prompts(tables["prompts"], tables["routes"], shard, seen, found)
    _check_candidates(tables["routes"], tables["candidates"], shard, found)
    _check_graveyard(tables["graveyard"], tables["candidates"], shard, found)


def _read_part(folder: Folder, name: str, schema: pa.Schema) -> pl.DataFrame:
    """The declared columns of a part. A flipped byte may have changed a column's name or type, on
    which polars would stop the process, so both are compared before it sees them."""
    table = folder.read_table(name)
    try:
        table = table.select(schema.names)
        # As text: Arrow's own comparison passes over the names inside a list.
        same = [str(field.type) for field in table.schema] == [str(field.type) for field in schema]
    except (KeyError, ValueError) as error:
        raise DamagedRunError(f"{name} has not the columns of its kind: {error}.") from error
    if not same:
        raise DamagedRunError(f"{name} has columns of other types than its kind.")
    frame = pl.from_arrow(pa.Table.from_arrays(table.columns, schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _check_prompts(
    prompts: pl.DataFrame, routes: pl.DataFrame, shard: int, seen: SeenIds, found: Verification
) -> None:
    ids = prompts["prompt_id"].to_list()
    if doubled := len(seen.add(ids)):
        found.duplicates += doubled
        found.problems.append(f"shard {shard}: {doubled} prompts occur twice")
    if Counter(ids) != Counter(routes["prompt_id"].to_list()):
        found.problems.append(f"shard {shard}: prompts and routes name different prompts")
    for language, count in prompts.group_by("language").len().iter_rows():
        found.add(language, "prompts", count)


def _check_candidates(
    routes: pl.DataFrame, candidates: pl.DataFrame, shard: int, found: Verification
) -> None:
    requested = (
        routes.select("prompt_id", "language", pl.col("drawn").alias("teacher"), "samples")
        .explode("teacher")
        .with_columns(sample_index=pl.int_ranges(0, pl.col("samples"), dtype=pl.Int16))
        .explode("sample_index")
    )
    missing = requested.join(candidates, on=_KEY, how="anti").height
    unasked = candidates.join(requested, on=_KEY, how="anti").height
    doubled = candidates.height - candidates.select(pl.struct(_KEY).n_unique()).item()
    doubled = max(doubled, candidates.height - candidates["candidate_id"].n_unique())
    found.missing += missing
    found.duplicates += doubled
    for count, what in (
        (missing, "are missing"),
        (unasked, "were never asked"),
        (doubled, "occur twice"),
    ):
        if count:
            found.problems.append(f"shard {shard}: {count} candidates {what}")
    for language, count in requested.group_by("language").len().iter_rows():
        found.add(language, "requested", count)
    failed = pl.col("error").is_not_null()
    counts = candidates.group_by("language").agg(
        candidates=pl.len(),
        kept=pl.col("kept").sum(),
        rejected=(~pl.col("kept") & ~failed).sum(),
        failed=failed.sum(),
        chosen=pl.col("chosen").sum(),
    )
    for row in counts.iter_rows(named=True):
        language = row.pop("language")
        for name, count in row.items():
            found.add(language, name, count)
    wrong = candidates.filter(
        (pl.col("kept") & failed) | (pl.col("chosen") & ~pl.col("kept"))
    ).height
    unexplained = candidates.filter(~pl.col("kept") & (pl.col("reasons").list.len() == 0)).height
    if wrong or unexplained:
        found.problems.append(
            f"shard {shard}: {wrong + unexplained} verdicts contradict themselves"
        )


def _check_graveyard(
    graveyard: pl.DataFrame, candidates: pl.DataFrame, shard: int, found: Verification
) -> None:
    prompts = graveyard.filter(pl.col("kind") == "prompt")
    for language, count in prompts.group_by("language").len().iter_rows():
        found.add(language, "prompts", count)
        found.add(language, "unroutable", count)
    buried = graveyard.filter(pl.col("kind") == "candidate")["candidate_id"].sort()
    dropped = candidates.filter(~pl.col("kept"))["candidate_id"].sort()
    if not buried.equals(dropped):
        found.problems.append(f"shard {shard}: the graveyard and the candidates not kept differ")


def _check_totals(manifest: dict[str, Any], found: Verification) -> None:
    for language, counts in sorted(found.languages.items()):
        answered = counts["kept"] + counts["rejected"] + counts["failed"]
        if counts["requested"] != answered:
            found.problems.append(
                f"{language}: {counts['requested']} requested, but {counts['kept']} kept + "
                f"{counts['rejected']} rejected + {counts['failed']} failed = {answered}"
            )
    for name in TOTALS:
        if found.total(name) != manifest["totals"][name]:
            listed = manifest["totals"][name]
            found.problems.append(f"{name}: {found.total(name)} in the files, {listed} listed")

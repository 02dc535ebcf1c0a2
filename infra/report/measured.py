"""Figures computed from a run's own files: counts, route shares, samples. All lazily."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from arbitrage.infra.report.counts import Counts, count_shard, merged
from arbitrage.infra.report.escaping import excerpt, seen
from arbitrage.infra.report.parts import batches, parts

SAMPLE_LENGTH = 320


@dataclass(frozen=True, slots=True)
class Sample:
    """One candidate to look at, with what became of it."""

    language: str
    teacher: str
    prompt: str
    text: str
    chosen: bool
    reasons: tuple[str, ...]


def count_run(run: Path) -> Counts:
    """Counts of a whole run from its files, one shard in memory at a time."""
    return merged(
        count_shard(_table(path), _table(run / "graveyard" / path.name))
        for path in parts(run, "candidates")
    )


def route_draws(run: Path) -> dict[str, dict[str, int]]:
    """Language -> teacher -> how many prompts of the language the router drew the teacher for."""
    found: Counter[tuple[str, str]] = Counter()
    for paths in batches(parts(run, "routes")):
        drawn = pl.scan_ipc(paths).select("language", teacher="drawn").explode("teacher")
        sums = drawn.drop_nulls().group_by("language", "teacher").len()
        for language, teacher, count in sums.collect(engine="streaming").iter_rows():
            found[language, teacher] += count
    draws: dict[str, dict[str, int]] = {}
    for (language, teacher), count in sorted(found.items()):
        draws.setdefault(language, {})[teacher] = count
    return draws


def samples(run: Path) -> list[Sample]:
    """Of each language one chosen candidate and one rejected, short ones first, cut to length."""
    taken: dict[tuple[str, bool], dict[str, object]] = {}
    for path in parts(run, "candidates"):
        for row in _few(path).iter_rows(named=True):
            key = (row["language"], row["chosen"])
            if key not in taken or (row["is_long"], row["candidate_id"]) < _rank(taken[key]):
                taken[key] = row | {"part": path.name}
    rows = [row for _, row in sorted(taken.items(), key=lambda item: (item[0][0], not item[0][1]))]
    asked = _prompt_texts(run, rows)
    return [_sample(row, asked) for row in rows]


def _rank(row: Mapping[str, object]) -> tuple[bool, str]:
    return bool(row["is_long"]), str(row["candidate_id"])


def _few(path: Path) -> pl.DataFrame:
    """Of one part, the best sample of each language, chosen and rejected."""
    text = pl.col("text")
    columns = ["candidate_id", "prompt_id", "language", "teacher", "text", "reasons", "chosen"]
    wanted = pl.col("chosen") | ~pl.col("kept")
    return (
        pl.scan_ipc(path)
        .filter(wanted, text.is_not_null(), pl.col("error").is_null(), text.str.len_chars() > 0)
        .with_columns(is_long=text.str.len_chars() > SAMPLE_LENGTH)
        .select(*columns, "is_long")
        .sort("is_long", "candidate_id")
        .group_by("language", "chosen", maintain_order=True)
        .head(1)
        .collect()
    )


def _sample(row: Mapping[str, object], asked: Mapping[str, str]) -> Sample:
    reasons = row["reasons"]
    return Sample(
        language=str(row["language"]),
        teacher=str(row["teacher"]),
        prompt=seen(excerpt(asked.get(str(row["prompt_id"]), ""), SAMPLE_LENGTH)),
        text=seen(excerpt(str(row["text"]), SAMPLE_LENGTH)),
        chosen=bool(row["chosen"]),
        reasons=tuple(map(str, reasons)) if isinstance(reasons, list) else (),
    )


def _prompt_texts(run: Path, rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """The last turn of each row's prompt, which lies in the shard of the row."""
    paths = [run / "prompts" / name for name in sorted({str(row["part"]) for row in rows})]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        return {}
    ids = [str(row["prompt_id"]) for row in rows]
    last = pl.col("messages").list.last().struct.field("content")
    found = pl.scan_ipc(paths).filter(pl.col("prompt_id").is_in(ids)).select("prompt_id", last)
    return dict(found.collect(engine="streaming").iter_rows())


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()

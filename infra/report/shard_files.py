"""Where the files of a run are: a line a shard and a line a view, from the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A run of 10^8 prompts has tens of thousands of shards; they are numbered, so a few show the rest.
MOST = 100


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """One shard or view: its rows, its bytes in all, its files as paths in the run folder."""

    name: str
    prompts: int
    candidates: int
    size: int
    paths: tuple[str, ...]


def shard_files(manifest: Mapping[str, Any]) -> list[ShardFiles]:
    """The first `MOST` shards of a finished run."""
    return [_shard(shard) for shard in manifest.get("shards", [])[:MOST]]


def view_files(manifest: Mapping[str, Any]) -> list[ShardFiles]:
    """The views, the first `MOST` files of each; `candidates` are a view's rows."""
    return list(_views(manifest.get("views", {})))


def not_listed(manifest: Mapping[str, Any]) -> str:
    """Which shards are not listed, in a sentence; empty where all are.

    >>> not_listed({"shards": [{}] * 250})
    'Listed are the first 100 of 250 shards; the others are in the same folders.'
    """
    shards = len(manifest.get("shards", []))
    if shards <= MOST:
        return ""
    return f"Listed are the first {MOST} of {shards:,} shards; the others are in the same folders."


def megabytes(size: int) -> str:
    """Bytes as people read them.

    >>> megabytes(0), megabytes(51_200), megabytes(3_400_000)
    ('0 kB', '51 kB', '3.4 MB')
    """
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def _shard(shard: Mapping[str, Any]) -> ShardFiles:
    rows = {entry["path"].partition("/")[0]: int(entry["rows"]) for entry in shard["files"]}
    return ShardFiles(
        name=str(shard["shard"]),
        prompts=rows.get("prompts", 0),
        candidates=rows.get("candidates", 0),
        size=sum(int(entry["bytes"]) for entry in shard["files"]),
        paths=tuple(str(entry["path"]) for entry in shard["files"]),
    )


def _views(views: Mapping[str, Any]) -> Iterator[ShardFiles]:
    for name, view in sorted(views.items()):
        files = view.get("files", [])
        paths = tuple(str(entry["path"]) for entry in files[:MOST])
        size = sum(int(entry["bytes"]) for entry in files)
        yield ShardFiles(str(name), 0, int(view["rows"]), size, paths)

"""The reader of each kind of file."""

from __future__ import annotations

from arbitrage.infra.sources import arrow, csv, hub, jsonl, parquet
from arbitrage.infra.sources.records import Reader

READERS: dict[str, Reader] = {
    "arrow": arrow,
    "csv": csv,
    "hub": hub,
    "jsonl": jsonl,
    "parquet": parquet,
    "tsv": csv,
}

"""The exactly-once run store: journal, shards, manifest, verify; finished runs opened to read."""

from arbitrage.infra.store.open import FinishedRun, open_run

__all__ = ["FinishedRun", "open_run"]

"""How the store of an s3:// source is reached."""

from __future__ import annotations

from typing import Any

from arbitrage.config import RunConfig
from arbitrage.infra.store.s3.session import s3fs_options


def source_options(config: RunConfig) -> dict[str, Any]:
    """The `storage_options` of `read_prompts`: [prompts.storage], else [run.storage]."""
    return s3fs_options(config.prompts.storage or config.run.storage)

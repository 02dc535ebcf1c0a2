"""Audits as `arbitrage audit-reward` writes them, with what they found made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


def write_audit(
    path: Path,
    filters: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Mapping[str, float | None]],
) -> str:
    """An audit.json of these rewards: reward -> language -> lower end of its interval.

    Args:
        filters: [filters] of the config that the audit is to be of.
    """
    from arbitrage import registry
    from arbitrage.filters.scoring import filter_columns

    identities = {}
    for name, values in filters.items():
        params = registry.filters.get(name).params.model_validate(values)
        metadata = filter_columns(name, params)[0].metadata
        identities[name] = {key.decode(): value.decode() for key, value in metadata.items()}
    rewards = [
        {
            "reward": reward,
            "languages": {
                tag: {"pairs": 200, "accuracy": low and low + 0.05, "low": low, "high": None}
                for tag, low in languages.items()
            },
        }
        for reward, languages in found.items()
    ]
    content = {
        "format": 1,
        "kind": "reward-audit",
        "filters": identities,
        "rewards": rewards,
        "agreement": [],
    }
    path.write_bytes(orjson.dumps(content))
    return str(path)

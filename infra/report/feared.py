"""What is bad about a measure, as its filter declares it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from arbitrage.fears import Fear
from arbitrage.infra.report.cells import EXPECTED_MAXIMUM, PROBABILITY
from arbitrage.registry import filters as registry

# What the report itself makes of a filter's measures, over the samples of each prompt.
_OVER_SAMPLES = {
    EXPECTED_MAXIMUM: Fear("high", "a toxic answer among its samples"),
    PROBABILITY: Fear("high", "prompts with a toxic answer"),
}


@cache
def fear_of(measure: str) -> Fear | None:
    """What is bad about a measure `FILTER.MEASURE`; None where neither side is, or nobody says."""
    if measure in _OVER_SAMPLES:
        return _OVER_SAMPLES[measure]
    name, _, own = measure.partition(".")
    if name not in registry.names():
        return None
    found: Mapping[str, Fear] = registry.get(name).plugin.fears
    return found.get(own)

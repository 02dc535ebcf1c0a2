"""Prompt sources: parquet, JSON lines, csv, Arrow and hub data sets as streams of checked prompts.

>>> from arbitrage.config import PromptsConfig
>>> from arbitrage.infra.sources import read_prompts
>>> read_prompts(PromptsConfig(source="nowhere/*.parquet"))  # doctest: +ELLIPSIS
Traceback (most recent call last):
arbitrage.errors.SourceError: nothing matches "nowhere/*.parquet". ...
"""

from arbitrage.infra.sources.options import source_options
from arbitrage.infra.sources.prompts import PromptChunk
from arbitrage.infra.sources.read import SourceSummary, check_source, read_prompts

__all__ = ["PromptChunk", "SourceSummary", "check_source", "read_prompts", "source_options"]

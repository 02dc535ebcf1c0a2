"""A language column as normalised BCP-47 tags."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
from langcodes.tag_parser import LanguageTagError, parse_tag

from arbitrage.infra.sources.columns import Problems, visible
from arbitrage.infra.sources.records import Problem, shown
from arbitrage.languages import normalise_tag

_LONGEST_TAG = 100


def tag_column(values: pa.StringArray, name: str, problems: Problems) -> pa.StringArray:
    """Each value normalised; null and a problem where it is missing, malformed or unregistered."""
    seen = visible(values).to_pylist()
    codes = values.dictionary_encode()
    tags = [None if tag is None else resolve_tag(tag) for tag in codes.dictionary.to_pylist()]
    if not all(seen) or any(isinstance(tag, Problem) for tag in tags):
        for index, code in enumerate(codes.indices.to_pylist()):
            if not seen[index]:
                missing = Problem("missing_language", f'column "{name}" is empty')
                problems.setdefault(index, missing)
            elif isinstance(tag := tags[code], Problem):
                problems.setdefault(index, tag)
    known = pa.array([tag if isinstance(tag, str) else None for tag in tags], pa.string())
    return known.take(codes.indices)


@lru_cache(maxsize=4096)
def resolve_tag(tag: str) -> str | Problem:
    """The normalised tag, or why it is none.

    >>> resolve_tag("zh_hant"), resolve_tag("e!").cause, resolve_tag("xx").cause
    ('zh-Hant', 'malformed_language', 'unknown_language')
    """
    if len(tag) > _LONGEST_TAG:
        return Problem("malformed_language", f'"{shown(tag, 60)}" is no language tag')
    try:
        parse_tag(tag.strip())
    except LanguageTagError as error:
        return Problem("malformed_language", shown(f'"{tag}": {error}'))
    try:
        return normalise_tag(tag)
    except ValueError as error:
        return Problem("unknown_language", shown(str(error)))

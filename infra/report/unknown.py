"""Languages in which a router had no reward to go by: how many prompts, and what stood in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def unknown_rows(languages: Sequence[str], unknown: Mapping[str, str]) -> list[dict[str, Any]]:
    """`language`, `prompts` and `estimate` of each language that the router was never told of.

    >>> unknown_rows(["fi", "tr", "fi"], {"fi": "all languages"})
    [{'language': 'fi', 'prompts': 2, 'estimate': 'all languages'}]
    """
    counts = Counter(languages)
    return [
        {"language": tag, "prompts": counts[tag], "estimate": instead}
        for tag, instead in sorted(unknown.items())
    ]


def merged_unknown(parts: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of all shards, summed: the manifest's `unknown_languages`."""
    counts: Counter[str] = Counter()
    instead: dict[str, str] = {}
    for part in parts:
        for row in part:
            counts[row["language"]] += row["prompts"]
            instead[row["language"]] = row["estimate"]
    return [
        {"language": tag, "prompts": counts[tag], "estimate": instead[tag]}
        for tag in sorted(instead)
    ]


def unknown_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each such language of a run.

    >>> unknown_sentences({"unknown_languages": [
    ...     {"language": "fi", "prompts": 12, "estimate": "all languages"}]})
    ['fi: the router has no rewards in it; 12 prompts went by the estimate over all languages.']
    """
    return [
        f"{row['language']}: the router has no rewards in it; {row['prompts']:,} "
        f"prompt{'' if row['prompts'] == 1 else 's'} went by the estimate over {row['estimate']}."
        for row in manifest.get("unknown_languages", [])
    ]

"""Languages as data: BCP-47 tags, scripts, how words are segmented, and model codes."""

from __future__ import annotations

import csv
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources

import langcodes
from langcodes.tag_parser import LanguageTagError


@dataclass(frozen=True, slots=True)
class Language:
    """What is known of one language.

    Attributes:
        tag: normalised BCP-47 tag, the key of the table.
        name: English name.
        script: ISO 15924 code of the script it is written in by default.
        segmentation: how words are found: "space" or "dictionary" (no spaces between words).
        fasttext: label code in lid.176, or "" where that model does not know the language.
        resource: "high", "mid" or "low", or "" where not known.
    """

    tag: str
    name: str
    script: str
    segmentation: str
    fasttext: str
    resource: str


@cache
def language_table() -> dict[str, Language]:
    """Every language of the table, by tag."""
    text = resources.files("arbitrage").joinpath("data/languages.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["tag"]: Language(**row) for row in rows}


@cache
def normalise_tag(tag: str) -> str:
    """The canonical form of a BCP-47 tag.

    Raises ValueError, with a sentence, for what is not a well-formed tag of registered parts.

    >>> normalise_tag("zh_hant_tw"), normalise_tag("iw"), normalise_tag("TR")
    ('zh-Hant-TW', 'he', 'tr')
    """
    try:
        standard = langcodes.standardize_tag(tag.strip())
    except (LanguageTagError, AttributeError) as error:
        raise ValueError(f'"{tag}" is not a BCP-47 language tag ({error})') from None
    if not langcodes.tag_is_valid(standard) or standard == "und":
        raise ValueError(f'"{tag}" is well formed but no registered language')
    return str(standard)


@cache
def base_language(tag: str) -> str:
    """The primary language subtag: what facts and per-language tables fall back to.

    >>> base_language("zh-Hant-TW")
    'zh'
    """
    return tag.partition("-")[0]


@cache
def language_facts(tag: str) -> Language | None:
    """Facts for a tag; None for a language the table does not know.

    Subtags are dropped from the right until the table knows the rest. A region that implies a
    script (zh-TW) is tried with that script first.

    >>> language_facts("pt-BR").tag, language_facts("zh-TW").tag, language_facts("tlh")
    ('pt', 'zh-Hant', None)
    """
    if "-" in tag and tag not in language_table():
        with suppress(LanguageTagError):
            tag = langcodes.Language.get(tag).maximize().to_tag()
    parts = tag.split("-")
    for length in range(len(parts), 0, -1):
        facts = language_table().get("-".join(parts[:length]))
        if facts:
            return facts
    return None

"""Numbers of candidates by language: one for all of them, or a table with a default."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag

from arbitrage.languages import normalise_tag

DEFAULT = "default"
# Why a prompt of an exact run was never asked.
NOT_NEEDED = "select.not_needed"
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


def _tags(table: dict[str, int]) -> dict[str, int]:
    normal = {(key if key == DEFAULT else normalise_tag(key)): n for key, n in table.items()}
    if len(normal) < len(table):
        raise ValueError(f"{sorted(table)} names a language twice")
    if not normal:
        raise ValueError("the table is empty; name a language or default")
    return normal


# Tagged, so that a mistake is told once and not once for each form.
ByLanguage = Annotated[
    Annotated[Count, Tag("number")]
    | Annotated[dict[str, Count], AfterValidator(_tags), Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, dict) else "number"),
]


def limit_of(limits: int | dict[str, int] | None, language: str) -> int | None:
    """The number of a language; None where the table names neither it nor a default.

    A tag must be the same: "zh" says nothing of "zh-Hant".

    >>> limit_of({"tr": 500, "default": 100}, "tr"), limit_of({"tr": 500}, "ko"), limit_of(7, "ko")
    (500, None, 7)
    """
    if isinstance(limits, dict):
        return limits.get(language, limits.get(DEFAULT))
    return limits


def named_languages(limits: int | dict[str, int] | None) -> list[str]:
    """The languages that a table names, in its order."""
    return [key for key in limits if key != DEFAULT] if isinstance(limits, dict) else []

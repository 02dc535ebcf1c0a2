"""Tables of (prompt, chosen, rejected) that a reward is audited on, in M-RewardBench's shape."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import langcodes
import polars as pl

from arbitrage.errors import SourceError
from arbitrage.languages import language_facts, normalise_tag

UNCATEGORISED = "uncategorised"
_NEEDED = ("chosen", "rejected", "language")


@dataclass(frozen=True, slots=True)
class PreferencePairs:
    """Pairs of answers to one prompt of which people say which is better, as equal columns.

    Attributes:
        prompts: text of the last user turn, "" where there is none.
        chosen, rejected: the answers; None where the table has none.
        languages: BCP-47.
        categories: `category`, else `subset`, else "uncategorised".
        prompt_ids: equal where two pairs answer the same prompt, in whatever language.
        files: path as given -> sha256 of each file read.
    """

    prompts: Sequence[str]
    chosen: Sequence[str | None]
    rejected: Sequence[str | None]
    languages: Sequence[str]
    categories: Sequence[str]
    prompt_ids: Sequence[str]
    files: dict[str, str]

    def __len__(self) -> int:
        return len(self.chosen)


def read_pairs(paths: Iterable[Path]) -> PreferencePairs:
    """The pairs of parquet or jsonl files, one after the other.

    Columns: chosen, rejected (strings, or lists of turns with role and content, of which the last
    counts), language; where there are such: prompt (the same), category or subset, prompt_id.
    Without a prompt, the last user turn before the answer is it. Further columns are not read.
    Languages may also be written as M-RewardBench's folders are (arb_Arab).

    Raises SourceError: a file that cannot be read, a column missing, a language that is none.
    """
    read = [_read(path) for path in paths]
    columns = {
        name: [value for part in read for value in getattr(part, name)]
        for name in ("prompts", "chosen", "rejected", "languages", "categories", "prompt_ids")
    }
    if not columns["chosen"]:
        raise SourceError("the table has no pairs.", mend="Give one with at least one row.")
    files = {name: digest for part in read for name, digest in part.files.items()}
    return PreferencePairs(**columns, files=files)


def _read(path: Path) -> PreferencePairs:
    try:
        data = path.read_bytes()
        parquet = path.suffix == ".parquet"
        frame = pl.read_parquet(data) if parquet else pl.read_ndjson(data, infer_schema_length=None)
    except OSError as error:
        raise SourceError(
            f'"{path}" cannot be read: {error.strerror or error}.', mend="Fix the path."
        ) from error
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f'"{path}" cannot be read: {error}.', mend="Give parquet, or JSON lines."
        ) from error
    for name in _NEEDED:
        if name not in frame.columns:
            raise SourceError(
                f'"{path}" has no column "{name}".',
                known=frame.columns,
                mend="Rename the columns to prompt, chosen, rejected, language and category.",
            )
    chosen, rejected = frame["chosen"].to_list(), frame["rejected"].to_list()
    asked = frame["prompt"].to_list() if "prompt" in frame.columns else chosen
    prompts = [_asked(value) for value in asked]
    named = next((n for n in ("category", "subset") if n in frame.columns), None)
    categories = frame[named].to_list() if named else [None] * len(frame)
    ids = frame["prompt_id"].to_list() if "prompt_id" in frame.columns else prompts
    return PreferencePairs(
        prompts=prompts,
        chosen=[_answer(value) for value in chosen],
        rejected=[_answer(value) for value in rejected],
        languages=_tags(path, frame["language"].to_list()),
        categories=[UNCATEGORISED if name is None else str(name) for name in categories],
        prompt_ids=[str(value) for value in ids],
        files={str(path): hashlib.sha256(data).hexdigest()},
    )


def _answer(value: Any) -> str | None:
    """The answer itself: a string, or what the last turn says."""
    if isinstance(value, list):
        value = value[-1] if value else None
    if isinstance(value, dict):
        value = value.get("content")
    return None if value is None else str(value)


def _asked(value: Any) -> str:
    """What was asked: a string, or the last user turn."""
    if isinstance(value, list):
        turns = [turn for turn in value if isinstance(turn, dict)]
        asked = [turn.get("content") for turn in turns if turn.get("role") == "user"]
        value = asked[-1] if asked else None
    return "" if value is None else str(value)


def _tags(path: Path, written: list[Any]) -> list[str]:
    tags: dict[Any, str] = {}
    for row, name in enumerate(written):
        if name not in tags:
            try:
                tags[name] = pair_tag("" if name is None else str(name))
            except ValueError as error:
                raise SourceError(
                    f'the language of row {row} of "{path}" is not usable: {error}.',
                    mend="Give every row a BCP-47 tag, such as tr or zh-Hant.",
                ) from None
    return [tags[name] for name in written]


def pair_tag(written: str) -> str:
    """The tag of a language as pair tables write it. One language of a macrolanguage that nothing
    here knows by itself becomes the macrolanguage, less a script it has anyway.

    >>> pair_tag("arb_Arab"), pair_tag("pes_Arab"), pair_tag("zho_Hant"), pair_tag("tur_Latn")
    ('ar', 'fa', 'zh-Hant', 'tr')
    """
    tag = normalise_tag(written)
    if language_facts(tag) is None:
        with suppress(ValueError):
            wider = normalise_tag(langcodes.standardize_tag(tag, macro=True))
            facts = language_facts(wider)
            if facts and f"{facts.tag}-{facts.script}" == wider:
                return facts.tag
            return wider
    return tag

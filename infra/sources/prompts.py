"""Raw rows become prompts, or graveyard rows with a reason: each row exactly one of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.infra.sources.columns import (
    Problems,
    json_text,
    text_column,
    visible,
    whole_number,
)
from arbitrage.infra.sources.plan import Plan
from arbitrage.infra.sources.records import Problem, RawRows, SourceFile, shown
from arbitrage.infra.sources.seen import SeenIds
from arbitrage.infra.sources.tags import tag_column
from arbitrage.infra.sources.turns import Turns, chat_turns, text_turns
from arbitrage.keys import prompt_id
from arbitrage.schema import GRAVEYARD, PROMPTS, table_of


@dataclass(frozen=True, slots=True)
class PromptChunk:
    """Rows of a source, judged.

    Attributes:
        prompts: PROMPTS rows, valid, in source order.
        graveyard: GRAVEYARD rows (kind "prompt", stage "prompts"), in source order; `origin` is
            FILE:N with the 1-based line (JSON lines, csv) or row.
        rows: input rows read = prompts.num_rows + graveyard.num_rows.
        dropped: rows that `where` left out on the way; they are no input rows.
    """

    prompts: pa.Table
    graveyard: pa.Table
    rows: int
    dropped: int = 0

    def joined(self, other: PromptChunk) -> PromptChunk:
        """This chunk followed by another."""
        return PromptChunk(
            pa.concat_tables([self.prompts, other.prompts]).combine_chunks(),
            pa.concat_tables([self.graveyard, other.graveyard]).combine_chunks(),
            self.rows + other.rows,
            self.dropped + other.dropped,
        )


def to_prompts(raw: RawRows, plan: Plan, file: SourceFile, seen: SeenIds) -> PromptChunk:
    """Judge raw rows.

    A row with several faults gets the first of: broken row, text or messages, id, language,
    metadata, language not detected, duplicate. Only valid prompts claim their id in `seen`.
    """
    count = len(raw)
    problems: Problems = dict(raw.broken)
    read_turns = chat_turns if plan.chat else text_turns
    # Untyped sources may lack a column in one chunk: then all its values are null.
    prompts = raw.columns.get(plan.prompt, [None] * count)
    turns = read_turns(prompts, plan.prompt, plan.max_characters, problems)
    ids = _given_ids(raw, plan, problems)
    languages = _languages(raw, plan, problems)
    sources = _passed(raw, "source", problems).fill_null(file.name)
    metadata = _metadata(raw, problems)
    if languages is None:
        languages = _detected(turns.last, _good(count, problems), problems)
    good = _good(count, problems)
    computed = ids is None
    if computed:
        ids = _computed_ids(turns, languages, sources, good)
    assert ids is not None
    for place in seen.add(ids.take(pa.array(good)).to_pylist()):
        row = int(good[place])
        what = "the same text, language and source" if computed else f'the id "{ids[row].as_py()}"'
        problems[row] = Problem("duplicate_id", shown(f"{what} came before"))
    columns = [
        ids,
        turns.messages(),
        languages,
        sources,
        _passed(raw, "task", problems),
        _passed(raw, "reference", problems),
        metadata,
    ]
    good = _good(count, problems)
    if len(good) < count:
        chosen = pa.array(good)
        columns = [column.take(chosen) for column in columns]
    return PromptChunk(
        pa.Table.from_arrays(columns, schema=PROMPTS),
        _graveyard(raw, file, ids, languages, problems),
        count,
    )


def _good(count: int, problems: Problems) -> NDArray[np.int64]:
    mask = np.ones(count, dtype=bool)
    mask[list(problems)] = False
    return np.flatnonzero(mask)


def _given_ids(raw: RawRows, plan: Plan, problems: Problems) -> pa.StringArray | None:
    values = raw.columns.get(plan.id)
    if values is None:
        return None
    ids = text_column(values, plan.id, problems, whole_number)
    there = visible(ids).fill_null(False)
    for row in np.flatnonzero(~there.to_numpy(zero_copy_only=False)):
        problems.setdefault(int(row), Problem("missing_id", f'column "{plan.id}" is empty'))
    return ids


def _computed_ids(
    turns: Turns, languages: pa.StringArray, sources: pa.StringArray, good: NDArray[np.int64]
) -> pa.StringArray:
    chosen = pa.array(good)
    ids: list[str | None] = [None] * len(turns.last)
    conversations = turns.conversations(good)
    tags = languages.take(chosen).to_pylist()
    names = sources.take(chosen).to_pylist()
    for row, conversation, tag, name in zip(good.tolist(), conversations, tags, names, strict=True):
        ids[row] = prompt_id(conversation, tag, name)
    return pa.array(ids, pa.string())


def _languages(raw: RawRows, plan: Plan, problems: Problems) -> pa.StringArray | None:
    if plan.fixed_language:
        return pa.repeat(plan.fixed_language, len(raw))
    if plan.language is None:
        return None
    values = raw.columns.get(plan.language, [None] * len(raw))
    return tag_column(text_column(values, plan.language, problems), plan.language, problems)


def _detected(texts: pa.StringArray, good: NDArray[np.int64], problems: Problems) -> pa.StringArray:
    from arbitrage.langid import identify  # noqa: PLC0415 - loads fastText, only for "detect"

    tags: list[str | None] = [None] * len(texts)
    if len(good):
        found, _ = identify(texts.take(pa.array(good)).to_pylist())
        for row, tag in zip(good.tolist(), found, strict=True):
            tags[row] = tag
            if tag is None:
                detail = "no language can be told from the last turn"
                problems[row] = Problem("undetected_language", detail)
    return pa.array(tags, pa.string())


def _passed(raw: RawRows, name: str, problems: Problems) -> pa.StringArray:
    """A column passed through: text as it is, anything else as its JSON text, "" as null."""
    values = raw.columns.get(name)
    if values is None:
        return pa.nulls(len(raw), pa.string())
    texts = text_column(values, name, problems, json_text)
    # csv cannot say null.
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _metadata(raw: RawRows, problems: Problems) -> pa.StringArray:
    values = raw.columns.get("metadata")
    if values is None:
        return pa.nulls(len(raw), pa.string())
    if not isinstance(values, list) and pa.types.is_map(values.type):
        values = [None if pairs is None else dict(pairs) for pairs in values.to_pylist()]
    faults: Problems = {}
    texts = text_column(values, "metadata", faults, json_text)
    for row, fault in faults.items():
        cause = "invalid_metadata" if fault.cause == "wrong_type" else fault.cause
        problems.setdefault(row, Problem(cause, fault.detail))
    result: list[str | None] = texts.to_pylist()
    for row, text in enumerate(result):
        if text is None:
            continue
        if not text.strip():
            # csv cannot say null.
            result[row] = None
            continue
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            problems.setdefault(row, Problem("invalid_metadata", shown(f"not JSON: {error}")))
    return pa.array(result, pa.string())


def _graveyard(
    raw: RawRows,
    file: SourceFile,
    ids: pa.StringArray,
    languages: pa.StringArray,
    problems: Problems,
) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {
            "kind": "prompt",
            "prompt_id": ids[row].as_py(),
            "language": languages[row].as_py(),
            "stage": "prompts",
            "reasons": [problem.reason],
            "detail": problem.detail,
            "origin": f"{file.label}:{raw.positions[row]}",
        }
        for row, problem in sorted(problems.items())
    ]
    return table_of(rows, GRAVEYARD)

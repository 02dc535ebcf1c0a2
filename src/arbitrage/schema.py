"""The declared Arrow schemas of a run. Never inferred: every writer casts to these.

Prompts, candidates, the graveyard and the verdict columns follow one contract, so that any reader
can rely on names and types, also where a first batch is all nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


PROMPTS = pa.schema(
    [
        _required("prompt_id", pa.string()),
        _required("messages", MESSAGES),
        _required("language", pa.string()),
        _required("source", pa.string()),
        pa.field("task", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)

# One row a routed prompt: the whole distribution, because off-policy learners need it.
ROUTES = pa.schema(
    [
        _required("prompt_id", pa.string()),
        _required("language", pa.string()),
        _required("router", pa.string()),
        _required("teachers", pa.list_(pa.string())),
        _required("probabilities", pa.list_(pa.float32())),
        _required("drawn", pa.list_(pa.string())),
        _required("propensities", pa.list_(pa.float32())),
        _required("samples", pa.int16()),
    ]
)

# What generation produces; scores and verdicts are appended by later steps.
GENERATED = pa.schema(
    [
        _required("candidate_id", pa.string()),
        _required("prompt_id", pa.string()),
        _required("language", pa.string()),
        _required("teacher", pa.string()),
        _required("sample_index", pa.int16()),
        pa.field("text", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("sum_logprob", pa.float32()),
        _required("route_probability", pa.float32()),
        _required("router", pa.string()),
        _required("params_hash", pa.string()),
        _required("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("latency_ms", pa.float32()),
        pa.field("cost_usd", pa.float32()),
        pa.field("error", pa.string()),
    ]
)

VERDICTS = pa.schema(
    [
        _required("kept", pa.bool_()),
        _required("reasons", pa.list_(pa.string())),
        _required("chosen", pa.bool_()),
    ]
)

# Everything not kept, each with a reason. `kind` is "prompt" (an input row that was never routed)
# or "candidate" (a requested completion that was rejected or failed).
GRAVEYARD = pa.schema(
    [
        _required("kind", pa.string()),
        pa.field("prompt_id", pa.string()),
        pa.field("candidate_id", pa.string()),
        pa.field("language", pa.string()),
        pa.field("teacher", pa.string()),
        _required("stage", pa.string()),
        _required("reasons", pa.list_(pa.string())),
        pa.field("detail", pa.string()),
        pa.field("origin", pa.string()),
    ]
)


def score_fields(
    measures: Mapping[str, Mapping[str, str]], labels: Mapping[str, Mapping[str, str]]
) -> list[pa.Field]:
    """Columns for scores: float32 `FILTER.MEASURE`, then string `FILTER.LABEL`; null = abstained.

    Args:
        measures: column name -> metadata (filter `name@version`, hash of its params).
        labels: the same for label columns.
    """
    kinds = ((measures, pa.float32()), (labels, pa.string()))
    return [
        pa.field(name, kind, metadata=dict(meta))
        for columns, kind in kinds
        for name, meta in columns.items()
    ]


def scored_schema(scores: Iterable[pa.Field]) -> pa.Schema:
    """GENERATED plus the score columns known from the config."""
    return pa.schema([*GENERATED, *scores])


def candidates_schema(scores: Iterable[pa.Field]) -> pa.Schema:
    """The schema of `candidates/`: generated columns, scores, verdicts.

    >>> candidates_schema(score_fields({"length.words": {"filter": "length@1"}}, {})).names[-4:]
    ['length.words', 'kept', 'reasons', 'chosen']
    """
    return pa.schema([*GENERATED, *scores, *VERDICTS])


def asked_texts(messages: pa.ChunkedArray) -> list[str]:
    """The text of the last user turn of each prompt, "" where it has none.

    Args:
        messages: a column of MESSAGES.
    """
    turns = messages.combine_chunks()
    texts = [""] * len(turns)
    asked = pc.equal(pc.struct_field(turns.flatten(), "role"), "user")
    rows = pc.list_parent_indices(turns).filter(asked).to_pylist()
    contents = pc.struct_field(turns.flatten(), "content").filter(asked).to_pylist()
    # Turns come in order, so the last one of a prompt is the one that stays.
    for row, content in zip(rows, contents, strict=True):
        texts[row] = content or ""
    return texts


def turns_of(messages: pa.ChunkedArray) -> list[tuple[tuple[str, str], ...]]:
    """(role, content) of every turn of each prompt.

    Args:
        messages: a column of MESSAGES without nulls.
    """
    turns = messages.combine_chunks().flatten()
    columns = (pc.struct_field(turns, name).to_pylist() for name in ("role", "content"))
    return list(map(tuple, _cut(list(zip(*columns, strict=True)), messages)))


def lists_of(column: pa.ChunkedArray) -> list[list[Any]]:
    """A list column without nulls as Python lists; to_pylist makes an object a row and is slow.

    >>> lists_of(pa.chunked_array([[["a", "b"], []], [["c"]]]))
    [['a', 'b'], [], ['c']]
    """
    return _cut(column.combine_chunks().flatten().to_pylist(), column)


def _cut(values: list[Any], column: pa.ChunkedArray) -> list[list[Any]]:
    """The values of a list column, cut where its rows end."""
    ends = list(accumulate(pc.list_value_length(column).to_pylist()))
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of exactly `schema`; absent keys become nulls, types are never inferred."""
    return pa.Table.from_pylist(list(rows), schema=schema)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Select and cast `table` to `schema`, adding all-null columns for absent nullable fields."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        elif field.nullable:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise KeyError(f"column {field.name!r} is required and absent")
    return pa.Table.from_arrays(columns, schema=schema)

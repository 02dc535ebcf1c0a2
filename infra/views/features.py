"""Hugging Face features of an Arrow schema, as `datasets` writes them, without importing it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa


def hf_features(schema: pa.Schema) -> dict[str, Any]:
    """Features of a schema of scalars, lists and structs, JSON-like.

    >>> hf_features(pa.schema([("tags", pa.list_(pa.string()))]))
    {'tags': {'feature': {'dtype': 'string', '_type': 'Value'}, '_type': 'List'}}
    """
    return {field.name: _feature(field.type) for field in schema}


def with_features(schema: pa.Schema) -> pa.Schema:
    """The schema with its features in the metadata key `datasets` reads, all fields nullable."""
    info = {"info": {"features": hf_features(schema)}}
    fields = [pa.field(field.name, field.type) for field in schema]
    return pa.schema(fields, metadata={"huggingface": json.dumps(info)})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}

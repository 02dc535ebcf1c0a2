"""Raw columns as checked text: casts, UTF-8 and type problems, row by row only where needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.infra.sources.records import Column, Problem, shown

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# A character that a reader would see: not space, control, format (zero-width, bidi), filler,
# blank braille or variation selector.
_VISIBLE = (
    r"[^\p{Z}\p{Cc}\p{Cf}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}"
    r"\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}]"
)

Problems = dict[int, Problem]
Convert = Callable[[Any], str | None]


def is_text(kind: pa.DataType) -> bool:
    """Whether values of the Arrow type are text or bytes that may be text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_null(kind)
    )


def visible(texts: pa.StringArray) -> pa.BooleanArray:
    """Whether each text holds a character to be seen; null stays null.

    >>> visible(pa.array(["a", " \u200b\u3000", "\u200f", "คำ"])).to_pylist()
    [True, False, False, True]
    """
    return pc.match_substring_regex(texts, _VISIBLE)


def text_column(
    values: Column, name: str, problems: Problems, convert: Convert | None = None
) -> pa.StringArray:
    """The column as valid UTF-8 text; null where there is none, with a problem unless it was null.

    Args:
        convert: makes text of a value of another type, or None where it cannot; without it every
            other type is `wrong_type`.
    """
    if not isinstance(values, list):
        kind = values.type
        if pa.types.is_integer(kind) and convert is not None:
            return values.cast(pa.string())
        if is_text(kind):
            try:
                # Arrow does not check the text of a file; the way over bytes does.
                return _plain(values).cast(pa.binary()).cast(pa.string())
            except pa.ArrowInvalid:
                values = _plain(values).cast(pa.binary())
        values = values.to_pylist()
    else:
        try:
            return pa.array(values, pa.string())
        except (pa.ArrowTypeError, pa.ArrowInvalid, UnicodeEncodeError):
            pass
    texts = [_text(i, value, name, problems, convert) for i, value in enumerate(values)]
    return pa.array(texts, pa.string())


def _plain(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_fixed_size_binary(kind):
        return values.cast(pa.binary())
    return values


def _text(
    index: int, value: Any, name: str, problems: Problems, convert: Convert | None
) -> str | None:
    if value is None:
        return None
    text = value
    if isinstance(value, bytes):
        text = _decoded(value)
    elif not isinstance(value, str):
        text = convert(value) if convert else None
        if text is None:
            detail = f'column "{name}" holds {type(value).__name__} {shown(value, 60)}, not text'
            text = Problem("wrong_type", detail)
    if isinstance(text, str) and (found := _LONE_SURROGATE.search(text)):
        detail = f'column "{name}", character {found.start() + 1}: {shown(found.group())}'
        text = Problem("invalid_unicode", f"lone surrogate in {detail}")
    if isinstance(text, Problem):
        problems.setdefault(index, text)
        return None
    return str(text)


def _decoded(value: bytes) -> str | Problem:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        # Bytes that encode a surrogate are the same fault as an escaped one in JSON.
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return Problem("invalid_utf8", f"byte {error.start + 1}: {error.reason}")


def whole_number(value: Any) -> str | None:
    """Decimal text of a whole number; None for anything else, also for true and 7.0.

    >>> whole_number(7), whole_number(True), whole_number(7.0)
    ('7', None, None)
    """
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def json_text(value: Any) -> str | None:
    """JSON of any value: dates as ISO 8601, decimals as text; None where JSON has no way to say it.

    >>> json_text({"a": [1, None]}), json_text(b"x")
    ('{"a":[1,null]}', None)
    """
    try:
        return orjson.dumps(value, default=_json_default, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, orjson.JSONEncodeError):
        return None


def _json_default(value: Any) -> str:
    if isinstance(value, bytes):
        raise TypeError("bytes are not JSON")
    return str(value)

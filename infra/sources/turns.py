"""Prompt texts and chat messages as checked turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.infra.sources.columns import Problems, text_column, visible
from arbitrage.infra.sources.records import Column, Problem, shown
from arbitrage.schema import MESSAGES

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of n rows, flat.

    Attributes:
        owners: row of each turn, ascending, shape [turns].
        roles: role of each turn.
        contents: content of each turn, valid text.
        last: content of each row's last turn, null where the row has a problem; shape [n].
    """

    owners: NDArray[np.int64]
    roles: pa.StringArray
    contents: pa.StringArray
    last: pa.StringArray

    def messages(self) -> pa.ListArray:
        """One list of messages a row."""
        counts = np.bincount(self.owners, minlength=len(self.last))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        fields = list(MESSAGES.value_type)
        turns = pa.StructArray.from_arrays([self.roles, self.contents], fields=fields)
        return pa.ListArray.from_arrays(pa.array(offsets), turns)

    def conversations(self, rows: NDArray[np.int64]) -> list[list[dict[str, str]]]:
        """The messages of some rows, as Python values."""
        counts = np.bincount(self.owners, minlength=len(self.last))
        if (counts[rows] == 1).all():
            return [[turn] for turn in self._turns_at(np.searchsorted(self.owners, rows))]
        result: list[list[dict[str, str]]] = self.messages().take(pa.array(rows)).to_pylist()
        return result

    def _turns_at(self, places: NDArray[np.int64]) -> list[dict[str, str]]:
        chosen = pa.array(places)
        roles, contents = self.roles.take(chosen), self.contents.take(chosen)
        pairs = zip(roles.to_pylist(), contents.to_pylist(), strict=True)
        return [{"role": role, "content": content} for role, content in pairs]


def text_turns(values: Column, name: str, most: int, problems: Problems) -> Turns:
    """Each text as one user turn."""
    texts = text_column(values, name, problems)
    _mark(problems, pc.is_null(texts), Problem("missing_text", f'column "{name}" is null'))
    rows = np.arange(len(texts), dtype=np.int64)
    _check_contents(texts, rows, rows, most, problems)
    return Turns(rows, pa.repeat("user", len(texts)), texts, texts)


def chat_turns(values: Column, name: str, most: int, problems: Problems) -> Turns:
    """Lists of {role, content}, or JSON text of such lists. Other keys of a turn are not kept."""
    owners: list[int] = []
    last_turns: list[int] = []
    roles: list[str] = []
    contents: list[Any] = []
    for row, value in enumerate(_values(values)):
        turns = _turns_of(value, name)
        if isinstance(turns, Problem):
            problems.setdefault(row, turns)
            continue
        owners.extend([row] * len(turns))
        roles.extend(role for role, _ in turns)
        contents.extend(content for _, content in turns)
        last_turns.append(len(owners) - 1)
    owner = np.array(owners, dtype=np.int64)
    by_turn: Problems = {}
    texts = text_column(contents, f"{name}.content", by_turn)
    for turn, problem in by_turn.items():
        problems.setdefault(owners[turn], problem)
    ends = np.array(last_turns, dtype=np.int64)
    _check_contents(texts, owner, ends, most, problems)
    places = np.full(len(values), -1, dtype=np.int64)
    places[owner[ends]] = ends
    last = texts.take(pa.array(places, mask=places < 0))
    return Turns(owner, pa.array(roles, pa.string()), texts, last)


def _check_contents(
    texts: pa.StringArray,
    owners: NDArray[np.int64],
    ends: NDArray[np.int64],
    most: int,
    problems: Problems,
) -> None:
    blank = np.flatnonzero(pc.fill_null(pc.invert(visible(texts)), False))
    last = set(ends.tolist()) if len(blank) else set()
    for turn in blank.tolist():
        row = int(owners[turn])
        if turn in last:
            detail = "the prompt is empty, or only white space and zero-width characters"
            problems.setdefault(row, Problem("empty_prompt", detail))
        else:
            problems.setdefault(row, Problem("invalid_messages", "a turn before the last is empty"))
    lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    totals = np.bincount(owners, weights=lengths)
    for long in np.flatnonzero(totals > most).tolist():
        detail = f"{int(totals[long]):,} characters, over max_characters = {most:,}"
        problems.setdefault(long, Problem("too_long", detail))
    nul = pc.fill_null(pc.match_substring(texts, "\x00"), False)
    for turn in np.flatnonzero(nul).tolist():
        # Several tokenizers and C string interfaces stop at it, and a store may refuse it.
        problems.setdefault(
            int(owners[turn]), Problem("nul_byte", "the text holds a NUL character")
        )


def _mark(problems: Problems, mask: pa.BooleanArray, problem: Problem) -> None:
    for row in np.flatnonzero(mask):
        problems.setdefault(int(row), problem)


def _values(values: Column) -> Sequence[Any]:
    if isinstance(values, list):
        return values
    try:
        result: list[Any] = values.to_pylist()
        return result
    except UnicodeDecodeError:
        return [_value_or_problem(values, i) for i in range(len(values))]


def _value_or_problem(values: pa.Array, index: int) -> Any:
    try:
        return values[index].as_py()
    except UnicodeDecodeError as error:
        return Problem("invalid_utf8", f"in the messages: {error.reason}")


def _turns_of(value: Any, name: str) -> list[tuple[str, Any]] | Problem:
    if value is None:
        return Problem("missing_text", f'column "{name}" is null')
    if isinstance(value, str | bytes):
        try:
            value = orjson.loads(value)
        except ValueError as error:
            return Problem("invalid_messages", shown(f"not JSON: {error}"))
    if isinstance(value, Problem):
        return value
    if not isinstance(value, list) or not value:
        kind = f"{type(value).__name__} where a list of turns should be"
        return Problem("invalid_messages", "there are no turns" if value == [] else kind)
    faults = (_fault(number, turn) for number, turn in enumerate(value, start=1))
    fault = next((fault for fault in faults if fault), None)
    if fault is None and value[-1]["role"] != "user":
        fault = f"the last turn is the {value[-1]['role']}'s, not the user's"
    if fault:
        return Problem("invalid_messages", fault)
    return [(turn["role"], turn["content"]) for turn in value]


def _fault(number: int, turn: Any) -> str | None:
    if not isinstance(turn, dict) or "role" not in turn or "content" not in turn:
        return f"turn {number} has no role and content"
    if turn["role"] not in ROLES:
        return f"turn {number} has the role {shown(turn['role'], 60)}; known: {', '.join(ROLES)}"
    if not isinstance(turn["content"], str | bytes):
        return f"turn {number} holds {type(turn['content']).__name__} where text should be"
    return None

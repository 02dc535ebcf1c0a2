"""Chat turns as Arrow arrays: prompts looked up, answers appended, all without per-row Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.errors import DamagedRunError
from arbitrage.schema import MESSAGES

# Rows built at a time: keeps the 32-bit offsets of an Arrow string array far from overflowing, and
# the working memory small, whatever the size of a shard.
ROWS_AT_ONCE = 20_000

TURN = MESSAGES.value_type


def prompt_rows(prompts: pa.Table, prompt_ids: pa.ChunkedArray) -> pa.Array:
    """Row of each prompt id in `prompts`; DamagedRunError where one is not there."""
    found = pc.index_in(prompt_ids, value_set=prompts.column("prompt_id"))
    if found.null_count:
        absent = prompt_ids.filter(pc.is_null(found))[0].as_py()
        raise DamagedRunError(
            f"{found.null_count} candidates answer prompts that this shard does not hold, "
            f'the first "{absent}".',
            mend="Run `arbitrage verify` on the run folder.",
        )
    return found.combine_chunks()


def answer_turns(texts: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One assistant turn each, as lists of length 1.

    >>> answer_turns(pa.array(["merhaba"])).to_pylist()
    [[{'role': 'assistant', 'content': 'merhaba'}]]
    """
    offsets = pa.array(np.arange(len(texts) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, _assistant(texts), type=MESSAGES)


def without_answers(messages: pa.ListArray) -> tuple[pa.ListArray, pa.StringArray]:
    """Each conversation cut before its last turn, and that turn's text: undoes with_answers."""
    turns = messages.flatten()
    lengths = _numpy(messages.value_lengths()).astype(np.int64)
    last = np.cumsum(lengths) - 1
    is_answer = np.zeros(len(turns), dtype=bool)
    is_answer[last] = True
    offsets = np.concatenate([[0], np.cumsum(lengths - 1)]).astype(np.int32)
    asked = pa.ListArray.from_arrays(
        pa.array(offsets), turns.filter(pa.array(~is_answer)), type=MESSAGES
    )
    return asked, turns.take(pa.array(last)).field("content")


def with_answers(messages: pa.ListArray, texts: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Each conversation with its answer appended as an assistant turn.

    >>> asked = pa.array([[{"role": "user", "content": "2+2?"}]], MESSAGES)
    >>> with_answers(asked, pa.array(["4"])).to_pylist()[0][-1]
    {'role': 'assistant', 'content': '4'}
    """
    turns = messages.flatten()
    lengths = _numpy(messages.value_lengths()).astype(np.int64)
    ends = np.cumsum(lengths + 1)
    is_answer = np.zeros(len(turns) + len(messages), dtype=bool)
    is_answer[ends - 1] = True
    order = np.empty(len(is_answer), dtype=np.int64)
    order[~is_answer] = np.arange(len(turns))
    order[is_answer] = len(turns) + np.arange(len(messages))
    joined = pa.concat_arrays([turns, _assistant(texts)]).take(pa.array(order))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), joined, type=MESSAGES)


def _assistant(texts: pa.ChunkedArray | pa.Array) -> pa.StructArray:
    content = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    roles = pa.repeat(pa.scalar("assistant", pa.string()), len(content))
    return pa.StructArray.from_arrays([roles, content.cast(pa.string())], fields=list(TURN))


def _numpy(values: pa.Array) -> NDArray[np.int32]:
    array: NDArray[np.int32] = values.to_numpy(zero_copy_only=False)
    return array

"""What each trainer reads: one small pure function per view and trainer, on Arrow tables.

Columns as of November 2026: TRL, verl, axolotl (`chat_template`, for DPO `chat_template.default`),
LLaMA-Factory (`sharegpt` with role and content tags, system turns allowed), OpenRLHF (for SFT and
prompts `--input_key input`, for DPO `--prompt_key input`, always `--apply_chat_template`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.infra.views.turns import TURN, without_answers
from arbitrage.schema import MESSAGES

Convert = Callable[[pa.Table, int], pa.Table]
"""A table of the view and the number of rows that went before it, to the trainer's columns."""

VERL = pa.schema(
    [
        pa.field("data_source", pa.string()),
        pa.field("prompt", MESSAGES),
        pa.field("ability", pa.string()),
        pa.field(
            "reward_model",
            pa.struct([pa.field("style", pa.string()), pa.field("ground_truth", pa.string())]),
        ),
        pa.field(
            "extra_info",
            pa.struct(
                [
                    pa.field("split", pa.string()),
                    pa.field("index", pa.int64()),
                    pa.field("prompt_id", pa.string()),
                    pa.field("language", pa.string()),
                ]
            ),
        ),
    ]
)


def renamed(columns: Mapping[str, str]) -> Convert:
    """Keep some columns under the trainer's names, and nothing else.

    >>> table = pa.table({"messages": ["a"], "teacher": ["b"]})
    >>> renamed({"input": "messages"})(table, 0).to_pylist()
    [{'input': 'a'}]
    """

    def convert(table: pa.Table, _before: int) -> pa.Table:
        arrays = [table.column(name) for name in columns.values()]
        return pa.Table.from_arrays(arrays, names=list(columns))

    return convert


def pairs_with_single_turns(prompt: str) -> Convert:
    """Preference pairs whose sides are one message object each, the prompt under the name given."""

    def convert(table: pa.Table, _before: int) -> pa.Table:
        arrays = [
            table.column("prompt"),
            single_turn(table["chosen"]),
            single_turn(table["rejected"]),
        ]
        return pa.Table.from_arrays(arrays, names=[prompt, "chosen", "rejected"])

    return convert


def single_turn(turns: pa.ChunkedArray) -> pa.ChunkedArray:
    """The one turn of each list: list<struct> of length 1 to struct."""
    return pa.chunked_array([pc.list_element(chunk, 0) for chunk in turns.chunks], type=TURN)


def verl_from_prompts(table: pa.Table, before: int) -> pa.Table:
    """Reinforcement learning on prompts. `ground_truth` is the prompt's reference; without one it
    is empty and `style` is "model": a reward model has to judge."""
    return _verl(table, table["messages"], table["reference"], before)


def verl_from_conversations(table: pa.Table, before: int) -> pa.Table:
    """Reinforcement learning on answered prompts: `ground_truth` is the chosen answer."""
    asked, answers = without_answers(table["messages"].combine_chunks())
    return _verl(table, asked, answers, before)


def _verl(table: pa.Table, asked: Any, truth: Any, before: int) -> pa.Table:
    size = table.num_rows
    style = pc.if_else(pc.is_valid(truth), "rule", "model")
    reward = [_array(style), _array(pc.fill_null(truth, ""))]
    extra = [
        pa.repeat("train", size),
        pa.array(np.arange(before, before + size)),
        _array(table["prompt_id"]),
        _array(table["language"]),
    ]
    arrays = [
        table["source"],
        asked,
        pc.fill_null(table["task"], "chat"),
        pa.StructArray.from_arrays(reward, fields=list(VERL.field("reward_model").type)),
        pa.StructArray.from_arrays(extra, fields=list(VERL.field("extra_info").type)),
    ]
    return pa.Table.from_arrays(arrays, schema=VERL)


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


CONVERSIONS: Mapping[tuple[str, str], Convert] = {
    ("sft", "trl"): renamed({"messages": "messages"}),
    ("sft", "axolotl"): renamed({"messages": "messages"}),
    ("sft", "llamafactory"): renamed({"messages": "messages"}),
    ("sft", "openrlhf"): renamed({"input": "messages"}),
    ("sft", "verl"): verl_from_conversations,
    ("preference", "trl"): renamed({n: n for n in ("prompt", "chosen", "rejected")}),
    ("preference", "axolotl"): pairs_with_single_turns("messages"),
    ("preference", "llamafactory"): pairs_with_single_turns("messages"),
    ("preference", "openrlhf"): renamed(
        {"input": "prompt", "chosen": "chosen", "rejected": "rejected"}
    ),
    ("prompts", "trl"): renamed({"prompt": "messages"}),
    ("prompts", "openrlhf"): renamed({"input": "messages"}),
    ("prompts", "verl"): verl_from_prompts,
}


def llamafactory_registry(view: str, file_name: str) -> dict[str, Any]:
    """The entry for LLaMA-Factory's own `dataset_info.json`, a registry of data sets."""
    columns = {"messages": "messages"}
    entry: dict[str, Any] = {"file_name": file_name, "formatting": "sharegpt"}
    if view == "preference":
        entry["ranking"] = True
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    return {view: {**entry, "columns": columns, "tags": tags}}

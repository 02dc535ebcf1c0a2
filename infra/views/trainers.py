"""What each trainer reads: one small pure function per view and trainer, on Arrow tables.

Columns as of November 2026: TRL, verl (parquet; `messages` for its SFT trainer), axolotl
(`chat_template`, for DPO `chat_template.default`), LLaMA-Factory (`sharegpt` with role and content
tags, system turns allowed), OpenRLHF (for SFT and prompts `--data.input_key input`, for DPO
`--data.prompt_key input`, always `--data.apply_chat_template`). Their own readers read what is
written here: tests/readers, with TRL 1.16, verl 0.9.1, axolotl 0.19, LLaMA-Factory 0.9.5 and
OpenRLHF 0.11.2. KTO: axolotl (`user_defined`, one user turn a prompt) and LLaMA-Factory (`kto_tag`)
besides TRL; verl and OpenRLHF have none. Groups: TRL, verl and OpenRLHF sample anew, so they get
prompts and references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.errors import ConfigError
from arbitrage.infra.views.turns import TURN, with_answers, without_answers
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


def conversations(column: str) -> Convert:
    """Whole conversations under the name given, from either form of the sft view."""
    return lambda table, _before: pa.table({column: whole_conversations(table)})


def conversations_for_trl(table: pa.Table, _before: int) -> pa.Table:
    """The sft view in the form it has: TRL reads both."""
    together = "messages" in table.column_names
    return table.select(["messages"] if together else ["prompt", "completion"])


def whole_conversations(table: pa.Table) -> pa.Array:
    """`messages`, or `prompt` with its `completion` as the last turn."""
    if "messages" in table.column_names:
        return _array(table["messages"])
    return with_answers(_array(table["prompt"]), _texts(table["completion"]))


def labels_with_conversations(table: pa.Table, _before: int) -> pa.Table:
    """KTO for LLaMA-Factory: whole conversations and a label."""
    return pa.table({"messages": whole_conversations(table), "label": table["label"]})


def labels_with_texts(table: pa.Table, _before: int) -> pa.Table:
    """KTO for axolotl: texts, which only a prompt of one user turn can be without a template."""
    prompts = _array(table["prompt"])
    lengths, turns = prompts.value_lengths(), prompts.flatten()
    users = pc.all(pc.equal(turns.field("role"), "user"), min_count=0).as_py()
    if not users or not pc.all(pc.equal(lengths, 1), min_count=0).as_py():
        raise ConfigError(
            "axolotl's KTO reads a prompt as one text, and this view has prompts of several turns.",
            mend="Use --trainer trl or llamafactory, which take turns.",
        )
    texts = {"prompt": turns.field("content"), "completion": _texts(table["completion"])}
    return pa.table({**texts, "label": table["label"]})


def openrlhf_from_groups(table: pa.Table, _before: int) -> pa.Table:
    """Prompts of groups with the reference, "" without one (`--input_key input --label_key
    label`)."""
    return pa.table({"input": table["prompt"], "label": pc.fill_null(table["reference"], "")})


def verl_from_groups(table: pa.Table, before: int) -> pa.Table:
    """Prompts of groups, as `verl_from_prompts`."""
    return _verl(table, _array(table["prompt"]), table["reference"], before)


def verl_from_prompts(table: pa.Table, before: int) -> pa.Table:
    """Reinforcement learning on prompts. `ground_truth` is the prompt's reference; without one it
    is empty and `style` is "model": a reward model has to judge."""
    return _verl(table, table["messages"], table["reference"], before)


def verl_from_conversations(table: pa.Table, before: int) -> pa.Table:
    """`messages` for verl's SFT trainer; its columns of reinforcement learning besides, where
    `ground_truth` is the chosen answer."""
    whole = whole_conversations(table)
    asked, answers = without_answers(whole)
    return _verl(table, asked, answers, before).append_column("messages", whole)


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


def _texts(turns: pa.ChunkedArray) -> pa.Array:
    """The text of the one turn of each list."""
    return _array(single_turn(turns)).field("content")


CONVERSIONS: Mapping[tuple[str, str], Convert] = {
    ("sft", "trl"): conversations_for_trl,
    ("sft", "axolotl"): conversations("messages"),
    ("sft", "llamafactory"): conversations("messages"),
    ("sft", "openrlhf"): conversations("input"),
    ("sft", "verl"): verl_from_conversations,
    ("preference", "trl"): renamed({n: n for n in ("prompt", "chosen", "rejected")}),
    ("preference", "axolotl"): pairs_with_single_turns("messages"),
    ("preference", "llamafactory"): pairs_with_single_turns("messages"),
    ("preference", "openrlhf"): renamed(
        {"input": "prompt", "chosen": "chosen", "rejected": "rejected"}
    ),
    ("kto", "trl"): renamed({n: n for n in ("prompt", "completion", "label")}),
    ("kto", "axolotl"): labels_with_texts,
    ("kto", "llamafactory"): labels_with_conversations,
    ("rloo", "trl"): renamed({n: n for n in ("prompt", "prompt_id", "language", "reference")}),
    ("rloo", "openrlhf"): openrlhf_from_groups,
    ("rloo", "verl"): verl_from_groups,
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
    elif view == "kto":
        columns |= {"kto_tag": "label"}
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    return {view: {**entry, "columns": columns, "tags": tags}}

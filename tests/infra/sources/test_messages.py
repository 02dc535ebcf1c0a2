"""Chat messages: lists of turns and JSON text, several turns, and what is no conversation."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.keys import prompt_id


def _turn(role, content):
    return {"role": role, "content": content}


CHAT = [
    _turn("system", "Kısa yanıt ver."),
    _turn("user", "日本の首都は？"),
    _turn("assistant", "東京です。"),
    _turn("user", "ขอบคุณ แล้วเกาหลีล่ะ 👋🏽"),
]
LANGUAGE = {"messages": "column:chat", "language": "th"}


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "jsonl", "arrow file"])
def test_conversations_come_back_turn_by_turn(kind, as_text, write, read):
    chats = [CHAT, [_turn("user", "tek")], CHAT[:2]]
    rows = [{"chat": json.dumps(chat) if as_text else chat} for chat in chats]
    chunk = read(write(rows, kind), chunk_rows=2, **LANGUAGE)
    assert chunk.prompts["messages"].to_pylist() == chats
    name = chunk.prompts["source"][0].as_py()
    assert chunk.prompts["prompt_id"].to_pylist() == [prompt_id(c, "th", name) for c in chats]


def test_csv_holds_conversations_as_json_text(write, read):
    chunk = read(write([{"chat": json.dumps(CHAT)}], "csv"), **LANGUAGE)
    assert chunk.prompts["messages"].to_pylist() == [CHAT]


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ([], "invalid_messages"),
        (None, "missing_text"),
        ([_turn("system", "x")], "invalid_messages"),
        ([_turn("user", "x"), _turn("assistant", "y")], "invalid_messages"),
        ([_turn("human", "x")], "invalid_messages"),
        ([_turn(["user"], "x")], "invalid_messages"),
        ([_turn("user", None)], "invalid_messages"),
        ([_turn("user", [{"type": "text", "text": "x"}])], "invalid_messages"),
        ([_turn("system", " "), _turn("user", "x")], "invalid_messages"),
        ([{"from": "human", "value": "x"}], "invalid_messages"),
        (["x"], "invalid_messages"),
        ("{oops", "invalid_messages"),
        ('{"role": "user"}', "invalid_messages"),
        (7, "invalid_messages"),
        ([_turn("user", "\u200b")], "empty_prompt"),
        ([_turn("system", "a\x00"), _turn("user", "x")], "nul_byte"),
        ([_turn("system", "a" * 60), _turn("user", "b" * 60)], "too_long"),
        ([_turn("user", "x\ud83d")], "invalid_unicode"),
    ],
)
def test_what_is_no_conversation_is_buried(value, cause, write, read, causes):
    good = [_turn("user", "iyi")]
    rows = [{"chat": good}, {"chat": value}, {"chat": [_turn("user", "son")]}]
    chunk = read(write(rows, "jsonl"), max_characters=100, **LANGUAGE)
    assert causes(chunk) == {"2": cause}
    assert chunk.prompts["messages"].to_pylist() == [good, [_turn("user", "son")]]


def test_invalid_utf8_in_one_turn_buries_one_row(tmp_path, read, causes):
    roles, contents = pa.array(["user"] * 3), pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    turns = pa.StructArray.from_arrays([roles, contents], ["role", "content"])
    chats = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), turns)
    pq.write_table(pa.table({"chat": chats}), tmp_path / "a.parquet")
    chunk = read(tmp_path / "a.parquet", **LANGUAGE)
    assert causes(chunk) == {"2": "invalid_utf8"}
    assert chunk.prompts.num_rows == 2


def test_the_language_is_detected_on_the_last_turn(write, read):
    pytest.importorskip("arbitrage.langid", reason="arbitrage.langid is not there yet")
    chat = [
        _turn("user", "Tell me something about the weather in summer, please."),
        _turn("assistant", "It is warm."),
        _turn("user", "Peki kışın hava nasıl oluyor, biraz da onu anlatır mısın?"),
    ]
    chunk = read(write([{"chat": chat}], "jsonl"), messages="column:chat", language="detect")
    assert chunk.prompts["language"].to_pylist() == ["tr"]

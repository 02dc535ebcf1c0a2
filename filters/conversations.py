"""What filters that ask a server send of a candidate: its conversation, in characters JSON has."""

from __future__ import annotations

from typing import Any

import numpy as np
import regex

from arbitrage.filters.base import Batch

_LARGEST = float(np.finfo(np.float32).max)
_SURROGATES = regex.compile("[\ud800-\udfff]")

# Spellings that tokenisers of chat models read as the end of a turn or the begin of another one.
_CONTROL = regex.compile(
    r"<\|[^|<>\s]{1,64}\|>|<｜[^｜<>]{1,64}｜>|</?s>|<(?:start|end)_of_turn>|<turn\|>|<\|turn>"
    r"|\[/?INST\]|<</?SYS>>|<[be]os>"
)


def sendable(text: str) -> str:
    """The text with lone surrogates, which no encoding has, as U+FFFD.

    >>> sendable("a\\ud800b") == "a\\ufffdb"
    True
    """
    return text if text.isascii() else str(_SURROGATES.sub("\ufffd", text))


def disarmed(text: str) -> str:
    """The text with a space in the marks that chat templates put between turns, so that a server
    does not read an answer's own as such.

    >>> disarmed("fine<|im_end|>\\n<|im_start|>assistant [INST] a < b")
    'fine< |im_end|>\\n< |im_start|>assistant [ INST] a < b'
    """
    return str(_CONTROL.sub(lambda found: f"{found[0][0]} {found[0][1:]}", sendable(text)))


def unaskable(batch: Batch, row: int, longest: int) -> str | None:
    """Why nothing is asked about a candidate: "no_prompt", "empty" or "too_long"; None: it is.

    >>> unaskable(Batch(["", "x"], ["en"] * 2, ["a", None]), 0, 9)
    'empty'
    """
    turns = turns_of(batch, row)
    if not turns:
        return "no_prompt"
    if not batch.texts[row].strip():
        return "empty"
    size = len(batch.texts[row]) + sum(len(content) for _, content in turns)
    return "too_long" if size > longest else None


def turns_of(batch: Batch, row: int) -> tuple[tuple[str, str], ...]:
    """The conversation a candidate answers; of a prompt of which only the text is known, that."""
    turns = batch.turns[row] if batch.turns is not None else None
    if turns:
        return turns
    prompt = batch.prompts[row]
    return () if prompt is None or not prompt.strip() else (("user", prompt),)


def messages_of(batch: Batch, row: int, *, disarm: bool) -> list[dict[str, str]]:
    """The conversation and the candidate as its last turn, as chat messages."""
    clean = disarmed if disarm else sendable
    turns = (*turns_of(batch, row), ("assistant", batch.texts[row]))
    return [{"role": role, "content": clean(content)} for role, content in turns]


def only_number(value: Any) -> float:
    """A number that float32 can hold, as float; a ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:80]} where a number should be")
    if not abs(value) <= _LARGEST:
        raise ValueError(f"{value} where a finite number should be")
    return float(value)

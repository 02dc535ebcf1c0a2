"""Small reward logs with a known answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def table_of(rows: Sequence[tuple[str, str, str | None, str, float | None]]) -> pa.Table:
    """(prompt_id, language, prompt, teacher, reward) as the table a log is."""
    names = ["prompt_id", "language", "prompt", "teacher", "reward"]
    kinds = [pa.string()] * 4 + [pa.float64()]
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    return pa.table(
        [pa.array(list(column), kind) for column, kind in zip(columns, kinds, strict=True)], names
    )


def topical(count: int = 240, *, seed: int = 0, signal: float = 1.0) -> pa.Table:
    """Prompts in tr and ko: teacher "sums" is better at those that say "number", "tales" at those
    that say "story", by `signal`; "both" lies between; noise on top."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        tag = ("tr", "ko")[index % 2]
        sums = random.random() < 0.5
        filler = " ".join(random.choice(["river", "green", "seven", "lamp", "north"], 4))
        text = f"Write a {'number' if sums else 'story'} about {filler} in Turkish."
        worth = {
            "sums": 0.5 + signal * (0.3 if sums else -0.3),
            "tales": 0.5 - signal * (0.3 if sums else -0.3),
            "both": 0.5,
        }
        for teacher, mean in worth.items():
            reward = mean + random.normal(0, 0.1)
            rows.append((f"p{index:05}", tag, text, teacher, reward))
    return table_of(rows)

"""Tables of pairs in the shapes that people publish them in."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from arbitrage.infra.sources.pairs import read_pairs


def test_answers_that_are_lists_of_texts_have_no_prompt_in_them(tmp_path: Path) -> None:
    table = {"chosen": [["hm", "iyi"]], "rejected": [["kötü"]], "language": ["tr"]}
    pl.DataFrame(table).write_parquet(tmp_path / "pairs.parquet")
    pairs = read_pairs([tmp_path / "pairs.parquet"])
    assert (pairs.prompts, pairs.chosen, pairs.rejected) == ([""], ["iyi"], ["kötü"])

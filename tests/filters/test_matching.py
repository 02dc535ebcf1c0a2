"""A stranger's filter over the whole run: one class, sketched in batches, matched once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from arbitrage import registry
from arbitrage.errors import FilterError
from arbitrage.filters import scoring
from arbitrage.filters.base import Batch, FilterParams, Scores
from arbitrage.filters.matching import RunFilter, RunSketch, sketch_keys

pytestmark = pytest.mark.usefixtures("marks_registered", "ranks_registered")


class RanksParams(FilterParams):
    """Params of the test filter."""

    runs: tuple[str, ...] = ()
    max_rank: float | None = None


class Ranks(RunFilter):
    """The place of each text among all by length; the label names the longest."""

    Params = RanksParams
    measures = ("rank",)
    labels = ("longest",)

    def earlier_runs(self) -> list[str]:
        return list(self.params.runs)

    def sketch(self, batch: Batch) -> Mapping[str, Any]:
        return {"length": np.array([len(text) for text in batch.texts], np.int32)}

    def match(self, run: RunSketch) -> Scores:
        lengths = run.arrays["length"]
        ranks = np.empty(len(run), np.float32)
        ranks[np.argsort(-lengths, kind="stable")] = np.arange(len(run))
        ranks[lengths == 0] = np.nan
        longest = run.ids[int(np.argmax(lengths))].as_py()
        return Scores(
            {"rank": ranks[run.first :]},
            {"longest": [longest if lengths.any() else None] * (len(run) - run.first)},
        )


@pytest.fixture(scope="module")
def ranks_registered() -> Iterator[None]:
    registry.filters.register("test_ranks", version=1)(Ranks)
    yield
    scoring.close_filters()
    del registry.filters._entries["test_ranks"]


TEXTS = ["aaa", None, "a", "aaaaa", "aa", None]


def test_a_table_by_itself_is_the_whole_run(
    config_of: Any, generated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batches: rows without a text are sketched as zeros and get no score."""
    monkeypatch.setattr(scoring, "MAX_BATCH_ROWS", 2)
    rows = [{"text": text, "prompt_id": f"p{n}"} for n, text in enumerate(TEXTS)]
    config = config_of({"test_ranks": {}, "test_marks": {}})
    done = scoring.score_table(generated(rows), {}, config)
    assert done["test_ranks.rank"].to_pylist() == [1, None, 3, 0, 2, None]
    assert done["test_ranks.longest"].to_pylist() == ["c000003"] * 6
    assert done["test_marks.marks"].to_pylist() == [3, None, 1, 5, 2, None]
    assert scoring.missing_scores(done.schema, config) == []


def test_with_sketches_kept_the_columns_are_empty_until_all_are_matched(
    config_of: Any, generated: Any
) -> None:
    config = config_of({"test_ranks": {}})
    parts = [[{"text": text} for text in TEXTS[:2]], [{"text": text} for text in TEXTS[2:]]]
    kept, keys = [], []
    for part in map(generated, parts):
        sketches: scoring.Sketches = {}
        done = scoring.score_table(part, {}, config, sketches)
        assert done["test_ranks.rank"].null_count == done.num_rows
        kept.append(sketches["test_ranks"]["length"])
        keys.append(sketch_keys(done))
    run = RunSketch.of(pa.concat_tables(keys), {"length": np.concatenate(kept)}, first=2)
    columns = scoring.match_rows("test_ranks", RanksParams(), run)
    np.testing.assert_array_equal(columns["test_ranks.rank"], [3, 0, 2, np.nan])
    again = scoring.score_table(done, {}, config_of({"test_ranks": {"max_rank": 1}}), fresh := {})
    assert fresh == {}  # measured already: nothing to sketch
    assert again["test_ranks.rank"].null_count == 4


def test_keys_that_are_null_are_one_prompt() -> None:
    keys = pa.table({"candidate_id": list("abc"), "prompt_id": [None, "p", None]})
    keys = keys.append_column("language", pa.array(["tr", "en", "tr"]))
    run = RunSketch.of(keys, {})
    assert run.prompts.tolist() == [0, 1, 0]
    assert run.languages.tolist() == [0, 1, 0]


def test_a_table_without_a_row_is_no_error(config_of: Any, generated: Any) -> None:
    done = scoring.score_table(generated([]), {}, config_of({"test_ranks": {}}))
    assert done.num_rows == 0


def test_what_matching_returns_is_checked(
    generated: Any, config_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Ranks, "match", lambda self, run: Scores({"rank": np.zeros(1)}, {"longest": [None]})
    )
    with pytest.raises(FilterError, match=r"test_ranks\.rank.* for 2 texts"):
        scoring.score_table(generated([{}, {}]), {}, config_of({"test_ranks": {}}))


def test_a_table_alone_is_not_compared_with_runs_nobody_has_read(
    generated: Any, config_of: Any
) -> None:
    config = config_of({"test_ranks": {"runs": ["runs/old"]}})
    with pytest.raises(FilterError, match="runs/old, which a table alone cannot"):
        scoring.score_table(generated([{}]), {}, config)

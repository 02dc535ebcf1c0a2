"""`where` and `limit`: which rows are asked for."""

from __future__ import annotations

import json

import pytest

from arbitrage.config import PromptsConfig
from arbitrage.errors import ConfigError, SourceError
from arbitrage.infra.sources import check_source, read_prompts
from arbitrage.infra.sources.where import Condition

ROWS = [
    {"prompt_id": f"p{i}", "prompt": f"soru {i}", "language": tag, "level": str(i)}
    for i, tag in enumerate(["tr", "de", "tr", "th", "tr", "ja"])
]


def _ids(chunk):
    return chunk.prompts["prompt_id"].to_pylist()


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_rows_it_drops_are_counted_and_are_no_input_rows(kind, chunk_rows, write, read):
    chunk = read(write(ROWS, kind), chunk_rows=chunk_rows, where="language = 'tr'")
    assert _ids(chunk) == ["p0", "p2", "p4"]
    assert (chunk.rows, chunk.dropped) == (3, 3)


def test_limit_counts_rows_after_it(kind, write, read):
    path = write(ROWS, kind)
    assert _ids(read(path, limit=2)) == ["p0", "p1"]
    assert _ids(read(path, limit=2, where="language = 'tr'", chunk_rows=1)) == ["p0", "p2"]
    assert _ids(read([path, path], limit=50)) == [row["prompt_id"] for row in ROWS]


def test_limit_counts_buried_rows_too(write, read, causes):
    path = write([{"prompt": "", "language": "tr"}, *ROWS], "jsonl")
    chunk = read(path, limit=2)
    assert chunk.rows == 2
    assert causes(chunk) == {"1": "empty_prompt"}


def test_text_becomes_a_number_by_a_cast(kind, write, read):
    path = write(ROWS, kind)
    assert _ids(read(path, where="CAST(level AS INT) BETWEEN 2 AND 3")) == ["p2", "p3"]
    with pytest.raises(ConfigError, match="TRY_CAST"):
        list(read_prompts(PromptsConfig(source=path, where="level > 3")))


def test_null_counts_as_false(tmp_path, read):
    rows = [row | {"score": score} for row, score in zip(ROWS, [1, None, 2.5, 3], strict=False)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert _ids(read(path, where="score > 1")) == ["p2", "p3"]
    assert _ids(read(path, where="NOT score > 1", chunk_rows=1)) == ["p0"]
    assert _ids(read(path, where="score IS NULL")) == ["p1"]


def test_a_row_it_cannot_judge_is_buried_and_not_dropped(tmp_path, read, causes):
    rows = [ROWS[0] | {"score": 5}, ROWS[1] | {"score": "5"}, ROWS[2] | {"score": 1}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{oops\n")
    chunk = read(path, where="score > 3")
    assert _ids(chunk) == ["p0"]
    assert causes(chunk) == {"2": "wrong_type", "4": "invalid_json"}
    assert chunk.dropped == 1


def test_a_condition_that_keeps_nothing_is_said(kind, write):
    path = write(ROWS, kind)
    with pytest.raises(SourceError, match="keeps none of 6 rows"):
        list(read_prompts(PromptsConfig(source=path, where="language = 'ru'")))
    assert check_source(PromptsConfig(source=path, where="language = 'ja'")).sample.dropped == 5


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("langage = 'tr'", 'Did you mean "language"?'),
        ('language = "tr"', "'single quotes'"),
        ("prompt", "not true or false"),
        ("prompt = (", "cannot be used"),
        ("lenght(prompt) > 2", 'Did you mean "length"?'),
    ],
)
def test_a_bad_condition_says_what_is_known(kind, write, where, words):
    path = write(ROWS, kind)
    with pytest.raises(ConfigError) as caught:
        read_prompts(PromptsConfig(source=path, where=where))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "prompt IN (SELECT * FROM read_csv('{path}'))",
        "EXISTS (SELECT 1)",
        "read_csv('{path}') = 1",
        "\"read_csv\"('{path}') = 1",
        "prompt IN (TABLE x)",
        "/* ' */ prompt IN (SELECT * FROM read_csv('{path}')) /* ' */",
        "/* ' */ prompt IN (SELECT prompt FROM x) /* ' */",
        "-- '\nprompt IN (SELECT 1) -- '",
        "E'\\'' = prompt OR prompt IN (SELECT 1) OR 'x' = prompt",
        "prompt = $$x$$",
        "`read_csv`('{path}')",
        "true; SELECT 1",
        "SUM(level) > 1",
        "ROW_NUMBER() OVER () > 1",
        "level > AVG(level)",
    ],
)
def test_a_condition_cannot_read_files_or_look_at_other_rows(where, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("prompt\nx\n")
    with pytest.raises(ConfigError):
        Condition(where.format(path=secret))


def test_text_in_quotes_may_hold_any_word(write, read):
    rows = [ROWS[0] | {"prompt": "select -- 'it' /* from */ read_csv(x)"}, ROWS[1]]
    where = "prompt = 'select -- ''it'' /* from */ read_csv(x)'"
    assert _ids(read(write(rows, "jsonl"), where=where)) == ["p0"]

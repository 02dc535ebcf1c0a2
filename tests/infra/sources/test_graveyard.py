"""Rows that are no prompts: each cause, in each kind of file where it can occur."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = {"prompt_id": "good", "prompt": "İyi bir soru?", "language": "tr"}


def _lines(path, *lines):
    path.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)
    )
    return path


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"prompt": ""}, "empty_prompt"),
        ({"prompt": " \n\t\u3000"}, "empty_prompt"),
        ({"prompt": "\u200b\ufeff\u2060\u200f"}, "empty_prompt"),
        ({"prompt": "a\x00b"}, "nul_byte"),
        ({"prompt": "ไทย" * 40}, "too_long"),
        ({"prompt_id": "good"}, "duplicate_id"),
        ({"prompt_id": ""}, "missing_id"),
        ({"language": ""}, "missing_language"),
        ({"language": "english language"}, "malformed_language"),
        ({"language": "xx"}, "unknown_language"),
        ({"metadata": "{oops"}, "invalid_metadata"),
    ],
)
def test_a_faulty_row_is_buried_and_the_rest_goes_on(  # noqa: PLR0917
    kind, write, read, causes, texts, fault, cause
):
    good = GOOD | ({"metadata": "{}"} if "metadata" in fault else {})
    bad = good | {"prompt_id": "bad"} | fault
    path = write([good, bad, good | {"prompt_id": "last"}], kind)
    chunk = read(path, max_characters=100)
    assert chunk.prompts["prompt_id"].to_pylist() == ["good", "last"]
    assert texts(chunk) == [GOOD["prompt"]] * 2
    # The header is line 1 of a csv file.
    assert causes(chunk) == {"3" if kind == "csv" else "2": cause}
    assert chunk.graveyard["origin"][0].as_py().startswith("rows.")


@pytest.mark.parametrize(
    ("column", "cause"),
    [("prompt", "missing_text"), ("prompt_id", "missing_id"), ("language", "missing_language")],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream", "jsonl"])
def test_null_is_missing(  # noqa: PLR0917
    kind, column, cause, write, read, causes
):
    path = write([GOOD, GOOD | {"prompt_id": "bad"} | {column: None}], kind)
    assert causes(read(path)) == {"2": cause}


def test_a_prompt_of_five_megabytes_is_too_long_unless_allowed(kind, write, read, causes, texts):
    rows = [GOOD, GOOD | {"prompt_id": "long", "prompt": "ş" * 5_000_000}]
    path = write(rows, kind)
    assert list(causes(read(path)).values()) == ["too_long"]
    assert len(texts(read(path, max_characters=5_000_000))[1]) == 5_000_000


@pytest.mark.parametrize("column", ["prompt", "prompt_id", "language"])
@pytest.mark.parametrize("data", [pa.binary(), pa.string(), "dictionary"])
def test_invalid_utf8_in_columns_is_buried(tmp_path, read, causes, column, data):
    bad, surrogate = b"bozuk \xff\xfe", b"\xed\xa0\x80"
    table = pa.Table.from_pylist([GOOD | {"prompt_id": str(i)} for i in range(4)])
    values = [value.encode() for value in table[column].to_pylist()]
    values[1], values[2] = bad, surrogate
    array = pa.array(values, pa.binary())
    if data == "dictionary":
        array = array.dictionary_encode()
    elif data == pa.string():
        array = array.view(pa.string())
    table = table.set_column(table.column_names.index(column), column, array)
    arrow = str(tmp_path / "a.arrow")
    with pa.OSFile(arrow, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, tmp_path / "a.parquet")
    for path in ("a.arrow", "a.parquet"):
        assert causes(read(tmp_path / path)) == {"2": "invalid_utf8", "3": "invalid_unicode"}


def test_invalid_utf8_in_lines_is_buried(tmp_path, read, causes):
    line = b'{"prompt_id":"b","prompt":"\xff\xfe","language":"tr"}'
    assert causes(read(_lines(tmp_path / "a.jsonl", GOOD, line))) == {"2": "invalid_utf8"}
    (tmp_path / "a.csv").write_bytes(b"prompt,language\nbir,tr\n\xff\xfe,tr\n\xc3\xbc\xc3\xa7,tr\n")
    chunk = read(tmp_path / "a.csv")
    assert causes(chunk) == {"3": "invalid_utf8"}
    assert chunk.prompts.num_rows == 2


def test_a_lone_surrogate_is_buried_unless_the_row_does_not_use_it(tmp_path, read, causes):
    bad = b'{"prompt_id":"b","prompt":"x\\ud83d","language":"tr"}'
    unused = b'{"prompt_id":"c","prompt":"x","language":"tr","other":"\\ud83d"}'
    path = _lines(tmp_path / "a.jsonl", GOOD, bad, unused)
    assert causes(read(path)) == {"2": "invalid_unicode"}


def test_a_broken_line_deep_inside_is_named_and_the_rest_goes_on(tmp_path, read, causes):
    lines = [GOOD | {"prompt_id": i} for i in range(5000)]
    lines[3456] = b'{"prompt": "yar\xc4\xb1m'
    lines[4000] = b"[1, 2]"
    lines[4001] = b'{"prompt_id": 1, "score": NaN}'
    lines[4002] = b"[" * 100_000
    lines.insert(10, b"")
    chunk = read(_lines(tmp_path / "a.jsonl", *lines), chunk_rows=700)
    assert causes(chunk) == dict.fromkeys(["3458", "4002", "4003", "4004"], "invalid_json")
    assert chunk.graveyard["origin"][0].as_py() == "a.jsonl:3458"
    assert chunk.prompts.num_rows == 4996
    assert chunk.prompts["prompt_id"][1].as_py() == "1"


def test_a_line_over_the_bound_is_skipped_in_bounded_memory(tmp_path, read, causes, monkeypatch):
    from arbitrage.infra.sources import streams

    monkeypatch.setattr(streams, "BLOCK", 1 << 10)
    monkeypatch.setattr(streams.read_lines, "__defaults__", (5_000,))
    long = GOOD | {"prompt_id": "long", "prompt": "x" * 50_000}
    path = _lines(tmp_path / "a.jsonl", GOOD, long, GOOD | {"prompt_id": "last"})
    chunk = read(path)
    assert causes(chunk) == {"2": "too_long"}
    assert chunk.prompts["prompt_id"].to_pylist() == ["good", "last"]


@pytest.mark.parametrize(
    "fault",
    [{"prompt": 5}, {"prompt": ["a"]}, {"language": 1}, {"prompt_id": 1.5}, {"prompt_id": True}],
)
def test_a_value_of_another_type_is_buried(tmp_path, read, causes, fault):
    path = _lines(tmp_path / "a.jsonl", GOOD, GOOD | {"prompt_id": "bad"} | fault)
    assert causes(read(path)) == {"2": "wrong_type"}


def test_a_csv_row_with_another_number_of_fields_is_malformed(tmp_path, read, causes):
    text = 'prompt,language\nbir,tr\niki,tr,fazla\nüç\n"dört\nbeş",tr\n"a"b,tr\naltı,tr\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    chunk = read(tmp_path / "a.csv")
    assert causes(chunk) == dict.fromkeys(["3", "4", "7"], "malformed_row")
    assert chunk.prompts.num_rows == 3


def test_metadata_that_json_cannot_say_is_invalid(tmp_path, read, causes):
    table = pa.Table.from_pylist([GOOD | {"metadata": {"raw": b"\x00"}}])
    pq.write_table(table, tmp_path / "a.parquet")
    assert causes(read(tmp_path / "a.parquet")) == {"1": "invalid_metadata"}


def test_the_same_text_twice_is_a_duplicate_also_across_files(tmp_path, read, causes):
    row = {"prompt": "aynı soru", "language": "tr", "source": "s"}
    _lines(tmp_path / "a.jsonl", row)
    _lines(tmp_path / "b.jsonl", {**row, "prompt": " aynı  soru"}, {**row, "language": "az"})
    chunk = read(str(tmp_path / "*.jsonl"))
    assert causes(chunk) == {"1": "duplicate_id"}
    assert chunk.graveyard["origin"][0].as_py() == "b.jsonl:1"
    assert chunk.prompts.num_rows == 2


def test_a_buried_row_does_not_take_the_id_of_a_later_good_one(write, read, causes):
    chunk = read(write([GOOD | {"prompt": ""}, GOOD], "jsonl"))
    assert causes(chunk) == {"1": "empty_prompt"}
    assert chunk.prompts["prompt_id"].to_pylist() == ["good"]


def test_files_of_one_base_name_are_told_apart_in_origins(tmp_path, read):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _lines(tmp_path / folder / "x.jsonl", GOOD | {"prompt_id": folder}, {"prompt": ""})
    origins = read(str(tmp_path / "*" / "x.jsonl")).graveyard["origin"].to_pylist()
    assert origins == [f"{tmp_path}/a/x.jsonl:2", f"{tmp_path}/b/x.jsonl:2"]

"""Sources that cannot be read: an error that says what, where, what is known, and the mend."""

from __future__ import annotations

import gzip
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from arbitrage.config import PromptsConfig
from arbitrage.errors import ConfigError, SourceError
from arbitrage.infra.sources import check_source, read_prompts

TABLE = pa.table({"prompt": ["merhaba", "dünya"], "language": ["tr", "tr"]})


def _refused(source, error=SourceError, **keys):
    """The message, which must come before any row is read."""
    with pytest.raises(error) as caught:
        read_prompts(
            PromptsConfig(source=source if isinstance(source, list) else str(source), **keys)
        )
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_glob_that_matches_nothing_lists_the_nearest_files(tmp_path):
    for name in ("train.parquet", "notes.txt"):
        (tmp_path / name).touch()
    message = _refused(tmp_path / "trian.parquet")
    assert "nothing matches" in message
    assert message.index("train.parquet") < message.index("notes.txt")
    assert str(tmp_path) in _refused(tmp_path / "no" / "such" / "*.jsonl")


def test_an_unknown_extension_lists_the_known_ones(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    message = _refused(tmp_path / "a.json")
    assert "a.json has no known extension" in message
    assert ".jsonl.zst" in message


def test_a_folder_without_known_files_is_refused(tmp_path):
    (tmp_path / "readme.md").touch()
    assert "no file of a known kind" in _refused(tmp_path)


def test_an_empty_list_of_sources_is_refused():
    assert "empty list" in _refused([])


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "b.csv", "b.jsonl"])
def test_a_source_without_rows_is_refused(tmp_path, name):
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(TABLE.slice(0, 0), path)
    else:
        path.write_text({"b.csv": "prompt,language\n", "b.jsonl": "\n\n"}.get(name, ""))
    with pytest.raises(SourceError, match="holds no rows"):
        list(read_prompts(PromptsConfig(source=str(path))))


@pytest.mark.parametrize("text", ['[\n{"prompt": "a"},\n{"prompt": "b"}\n]', '[{"prompt": "a"}]'])
def test_a_json_array_is_refused_with_the_way_to_convert(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    assert "jq -c" in _refused(tmp_path / "a.jsonl")


def test_an_empty_file_among_others_is_no_fault(tmp_path):
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.csv").touch()
    (tmp_path / "c.jsonl").write_text('{"prompt": "merhaba", "language": "tr"}')
    (chunk,) = read_prompts(PromptsConfig(source=str(tmp_path / "*")))
    assert chunk.rows == 1


def test_a_missing_column_lists_columns_and_the_nearest(kind, write):
    path = write([{"promt": "merhaba", "language": "tr"}], kind)
    message = _refused(path, ConfigError)
    assert 'has no column "prompt"' in message
    assert 'Did you mean "promt"?' in message
    assert "language (string)" in message


def test_a_missing_language_column_names_the_ways_out(kind, write):
    message = _refused(write([{"prompt": "merhaba"}], kind), ConfigError)
    assert '"detect"' in message


def test_an_id_column_that_was_named_must_be_there(kind, write):
    path = write([{"prompt": "merhaba", "language": "tr"}], kind)
    assert 'no column "key"' in _refused(path, ConfigError, id="column:key")


@pytest.mark.parametrize(
    ("values", "keys", "words"),
    [
        ({"prompt": [1]}, {}, "int64, not text"),
        ({"prompt": ["a"], "language": [1.5]}, {}, "double, not text"),
        ({"prompt": ["a"], "prompt_id": [1.5]}, {}, "text or whole numbers"),
        ({"prompt": [[{"role": "user", "content": "a"}]]}, {}, 'messages = "column:prompt"'),
        ({"prompt": [["a"]]}, {"messages": "column:prompt"}, "list of {role, content}"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(tmp_path, values, keys, words):
    pq.write_table(pa.table({"language": ["tr"], **values}), tmp_path / "a.parquet")
    assert words in _refused(tmp_path / "a.parquet", **keys)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,prompt,language\na,b,tr\n")
    assert 'two columns called "prompt"' in _refused(tmp_path / "a.csv", ConfigError)


@pytest.mark.parametrize("name", ["b.parquet", "b.arrow", "b.stream.arrow"])
def test_a_truncated_file_is_found_before_the_first_file_is_read(tmp_path, name):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    path = tmp_path / name
    if name == "b.parquet":
        pq.write_table(TABLE, path)
    else:
        make = pa.ipc.new_stream if "stream" in name else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    whole = path.read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        message = _refused([str(tmp_path / "a.parquet"), str(path)])
        assert name in message
        assert "damaged" in message


def test_damage_inside_a_parquet_names_the_file(tmp_path):
    table = pa.table({"prompt": [f"soru {i} {i * i}" for i in range(20_000)]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet is damaged or cut short after row \d+"):
        list(read_prompts(PromptsConfig(source=str(path), language="tr")))


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.ZstdCompressor().compress)],
)
def test_a_truncated_compressed_file_names_the_line(tmp_path, name, pack):
    rows = (json.dumps({"prompt": f"{i * 7919 % 10_007} {i}"}) for i in range(60_000))
    packed = pack("\n".join(rows).encode())
    (tmp_path / name).write_bytes(packed[:-9])
    chunks = read_prompts(PromptsConfig(source=str(tmp_path / name), language="tr"))
    read = 0
    try:
        for chunk in chunks:
            read += chunk.rows
    except SourceError as error:
        message = str(error)
    assert name in message
    assert 0 < read < 60_000
    line = re.search(r"after line (\d+)", message)
    assert line
    assert read <= int(line.group(1)) < 60_000


def test_a_file_that_is_not_compressed_as_named_is_damaged(tmp_path):
    (tmp_path / "a.jsonl.gz").write_text('{"prompt": "a"}\n')
    assert "damaged" in _refused(tmp_path / "a.jsonl.gz")


def test_utf16_is_refused_with_the_way_to_convert(tmp_path):
    (tmp_path / "a.csv").write_bytes("prompt,language\n".encode("utf-16"))
    assert "iconv" in _refused(tmp_path / "a.csv")


def test_a_quote_that_is_never_closed_names_its_line(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,language\nbir,tr\n"iki,tr\nüç,tr\n')
    with pytest.raises(SourceError, match="row of line 3 is never closed"):
        list(read_prompts(PromptsConfig(source=str(tmp_path / "a.csv"))))


def test_the_preflight_refuses_a_source_without_one_good_row(write):
    path = write([{"prompt": "a", "language": "xx"}] * 3, "jsonl")
    with pytest.raises(SourceError, match=r"none of the first 3 rows .*unknown_language"):
        check_source(PromptsConfig(source=path))


def test_the_preflight_says_what_is_there(tmp_path):
    pq.write_table(TABLE, tmp_path / "b.parquet")
    pq.write_table(TABLE.slice(0, 1), tmp_path / "a.parquet")
    summary = check_source(PromptsConfig(source=str(tmp_path / "*.parquet"), id=None))
    assert [name[-9:] for name in summary.files] == ["a.parquet", "b.parquet"]
    assert summary.columns == {"prompt": "string", "language": "string"}
    assert summary.rows == 3
    assert summary.size == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert summary.sample.rows == 3


def test_a_missing_s3_server_is_an_error_of_the_source(monkeypatch):
    pytest.importorskip("s3fs")
    options = {
        "key": "k",
        "secret": "s",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    config = PromptsConfig(source="s3://bucket/a.parquet")
    with pytest.raises(SourceError, match=r"s3://bucket/a\.parquet cannot be opened"):
        read_prompts(config, storage_options=options)

"""What is written comes back: texts unchanged, every row in exactly one table."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.config import PromptsConfig
from arbitrage.infra.sources import check_source, read_prompts
from arbitrage.keys import prompt_id
from arbitrage.schema import GRAVEYARD, PROMPTS

SENTENCES = {
    "ar": "ما هي عاصمة المملكة المغربية؟",
    "hi": "भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं?",
    "ja": "日本の首都はどこですか。人口も教えてください。",
    "ko": "대한민국의 수도는 어디이며 인구는 얼마나 됩니까?",
    "ru": "Какой город является столицей России и почему?",
    "th": "เมืองหลวงของประเทศไทยคือเมืองอะไร และมีประชากรเท่าไร",
    "tr": "Türkiye'nin başkenti neresidir ve nüfusu kaçtır?",
    "vi": "Thủ đô của Việt Nam là thành phố nào và có bao nhiêu người?",
    "zh": "中国的首都是哪个城市？请说明原因。",
    "en": "What is the capital of Canada, and why was it chosen? 👩🏽‍🔬🇨🇦",
}
ROWS = [
    {"prompt_id": f"p-{tag}", "prompt": text, "language": tag} for tag, text in SENTENCES.items()
]


def test_every_kind_gives_the_same_prompts_in_the_same_order(kind, write, read, texts):
    chunk = read(write(ROWS, kind), chunk_rows=3)
    assert chunk.prompts.schema.equals(PROMPTS)
    assert chunk.graveyard.schema.equals(GRAVEYARD)
    assert texts(chunk) == list(SENTENCES.values())
    assert chunk.prompts["language"].to_pylist() == list(SENTENCES)
    assert chunk.prompts["prompt_id"].to_pylist() == [row["prompt_id"] for row in ROWS]
    assert chunk.prompts["messages"][0].as_py() == [{"role": "user", "content": SENTENCES["ar"]}]
    assert chunk.rows == 10


def test_a_prompt_without_an_id_gets_the_key_of_its_text_language_and_source(kind, write, read):
    rows = [{"prompt": text, "language": tag} for tag, text in SENTENCES.items()]
    path = write(rows, kind)
    chunk = read(path, chunk_rows=4)
    name = Path(path).name
    expected = [
        prompt_id([{"role": "user", "content": text}], tag, name) for tag, text in SENTENCES.items()
    ]
    assert chunk.prompts["prompt_id"].to_pylist() == expected
    assert set(chunk.prompts["source"].to_pylist()) == {name}


@pytest.mark.parametrize("chunk_rows", [1, 2, 7, 1000])
def test_chunk_size_changes_no_row(chunk_rows, kind, write, read):
    path = write([*ROWS, *ROWS, {"prompt_id": "x", "prompt": " ", "language": "tr"}], kind)
    whole, cut = read(path), read(path, chunk_rows=chunk_rows)
    assert cut.prompts.equals(whole.prompts)
    assert cut.graveyard.equals(whole.graveyard)
    assert whole.graveyard.num_rows == 11


LANGUAGES = st.sampled_from([*SENTENCES, "ZH_hant", "xx", "e!", "", None])
TEXTS = st.one_of(
    st.none(), st.text(), st.sampled_from(list(SENTENCES.values())), st.text("\u200b \n\x00")
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, LANGUAGES), min_size=1, max_size=30), st.integers(1, 9))
def test_any_rows_come_back_once_and_unchanged(pairs, chunk_rows):
    rows = [{"prompt_id": i, "prompt": t, "language": tag} for i, (t, tag) in enumerate(pairs)]
    schema = pa.schema(
        [("prompt_id", pa.int64()), ("prompt", pa.string()), ("language", pa.string())]
    )
    with tempfile.TemporaryDirectory() as folder:
        parquet, jsonl = Path(folder, "a.parquet"), Path(folder, "a.jsonl")
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), parquet)
        jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        seen = []
        for path in (parquet, jsonl):
            chunks = list(read_prompts(PromptsConfig(source=str(path)), chunk_rows=chunk_rows))
            prompts = pa.concat_tables([c.prompts for c in chunks])
            graves = pa.concat_tables([c.graveyard for c in chunks])
            assert sum(c.rows for c in chunks) == len(rows) == len(prompts) + len(graves)
            for row in prompts.to_pylist():
                assert row["messages"] == [
                    {"role": "user", "content": rows[int(row["prompt_id"])]["prompt"]}
                ]
            ids = set(prompts["prompt_id"].to_pylist()) | set(graves["prompt_id"].to_pylist())
            assert ids == {str(i) for i in range(len(rows))}
            seen.append((prompts["prompt_id"].to_pylist(), graves["reasons"].to_pylist()))
        assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.ZstdCompressor().compress)],
)
def test_compressed_lines_are_read(tmp_path, read, texts, name, pack):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    # Two frames one after the other, as `cat` makes them.
    (tmp_path / name).write_bytes(pack(lines[:300]) + pack(lines[300:]))
    assert texts(read(tmp_path / name)) == list(SENTENCES.values())


def test_a_byte_order_mark_is_dropped(tmp_path, read, texts):
    (tmp_path / "a.csv").write_bytes("\ufeffprompt,language\nmerhaba,tr\n".encode())
    (tmp_path / "b.jsonl").write_bytes('\ufeff{"prompt":"selam","language":"tr"}\n'.encode())
    assert texts(read(str(tmp_path / "*"))) == ["merhaba", "selam"]


def test_a_source_behind_fsspec_is_read_like_a_local_one(read, texts):
    files = fsspec.filesystem("memory")
    table = pa.Table.from_pylist(ROWS)
    with files.open("/bucket/set/b.parquet", "wb") as sink:
        pq.write_table(table, sink)
    with files.open("/bucket/set/a.jsonl", "wb") as sink:
        sink.write(b'{"prompt_id":"first","prompt":"merhaba","language":"tr"}\n')
    try:
        chunk = read("memory://bucket/set/*")
        assert texts(chunk) == ["merhaba", *SENTENCES.values()]
        assert texts(read("memory://bucket/set")) == texts(chunk)
        summary = check_source(PromptsConfig(source="memory://bucket/set/*.parquet"))
        assert summary.files == ["memory:///bucket/set/b.parquet"]
        assert summary.rows == 10
    finally:
        files.rm("/bucket", recursive=True)


def test_columns_of_other_text_types_are_cast(tmp_path, read, texts):
    arrays = {
        "prompt_id": pa.array([7, 8], pa.int32()),
        "prompt": pa.array(["merhaba", "dünya"]).dictionary_encode(),
        "language": pa.array([b"tr", b"tr"], pa.large_binary()),
        "reference": pa.array(["a", None], pa.large_string()),
    }
    pq.write_table(pa.table(arrays), tmp_path / "a.parquet")
    chunk = read(tmp_path / "a.parquet")
    assert texts(chunk) == ["merhaba", "dünya"]
    assert chunk.prompts["prompt_id"].to_pylist() == ["7", "8"]
    assert chunk.prompts["reference"].to_pylist() == ["a", None]


def test_csv_values_stay_text(tmp_path, read, texts):
    content = 'prompt_id,prompt,language,task\n007,"iki\r\nsatır, ""tırnak""",no,\n1e5,42,tr,qa\n\n'
    (tmp_path / "a.csv").write_bytes(content.encode())
    chunk = read(tmp_path / "a.csv")
    assert chunk.prompts["prompt_id"].to_pylist() == ["007", "1e5"]
    assert chunk.prompts["language"].to_pylist() == ["no", "tr"]
    assert texts(chunk) == ['iki\r\nsatır, "tırnak"', "42"]
    assert chunk.prompts["task"].to_pylist() == [None, "qa"]


def test_further_columns_pass_through(tmp_path, read):
    rows = [
        {
            "prompt": "soru",
            "language": "tr",
            "source": "sınav",
            "task": "qa",
            "reference": 42,
            "metadata": {"düzey": [1, None]},
        },
        {"prompt": "soru", "language": "tr", "metadata": '{"a": 1}'},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read(tmp_path / "a.jsonl").prompts.to_pylist()
    assert (first["source"], first["task"], first["reference"]) == ("sınav", "qa", "42")
    assert json.loads(first["metadata"]) == {"düzey": [1, None]}
    assert second["source"] == "a.jsonl"
    assert second["metadata"] == '{"a": 1}'


def test_metadata_of_maps_and_structs_becomes_json(tmp_path, read):
    maps = pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))
    table = pa.table({"prompt": ["bir", "iki"], "language": ["tr", "tr"], "metadata": maps})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"prompt": ["üç"], "language": ["tr"], "metadata": [{"b": 2}]}),
        tmp_path / "b.parquet",
    )
    chunk = read(str(tmp_path / "*.parquet"))
    assert chunk.prompts["metadata"].to_pylist() == ['{"a":1}', None, '{"b":2}']


def test_language_is_detected_where_asked(kind, write, read):
    pytest.importorskip("arbitrage.langid", reason="arbitrage.langid is not there yet")
    rows = [{"prompt": text} for text in SENTENCES.values()]
    chunk = read(write(rows, kind), language="detect", chunk_rows=4)
    assert chunk.prompts["language"].to_pylist() == list(SENTENCES)


def test_a_text_without_a_language_is_undetected(write, read, causes):
    pytest.importorskip("arbitrage.langid", reason="arbitrage.langid is not there yet")
    rows = [{"prompt": SENTENCES["tr"]}, {"prompt": "12345 67890 !!! ???"}]
    assert causes(read(write(rows, "jsonl"), language="detect")) == {"2": "undetected_language"}


def test_a_fixed_language_needs_no_column(write, read):
    chunk = read(write([{"prompt": "merhaba"}], "csv"), language="TR")
    assert chunk.prompts["language"].to_pylist() == ["tr"]

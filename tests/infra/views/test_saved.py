from __future__ import annotations

import hashlib
import json

import datasets
import pyarrow as pa
import pytest

from arbitrage.errors import DamagedRunError, OutputError
from arbitrage.infra.views.features import hf_features, with_features
from arbitrage.infra.views.saved import read_view, save_view, view_schema
from arbitrage.schema import MESSAGES

WIDE = pa.schema(
    [
        pa.field("messages", MESSAGES),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("score", pa.float32()),
        pa.field("reward", pa.float64()),
        pa.field("index", pa.int16()),
        pa.field("kept", pa.bool_()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()


def numbers(start: int, count: int) -> pa.Table:
    return pa.table({"n": pa.array(range(start, start + count), pa.int64())})


def test_every_language_comes_back_through_load_from_disk(tmp_path, ten_languages, make_view):
    prompts, candidates, rewards = ten_languages
    for name in ("sft", "preference"):
        view = make_view(name)
        table = view.rows(prompts, candidates, rewards)
        saved = save_view([table], view.schema, tmp_path / name)
        assert saved.rows == table.num_rows == 10
        loaded = datasets.load_from_disk(str(tmp_path / name))
        assert loaded.to_list() == table.to_pylist()
        files = [str(path) for path in (tmp_path / name).glob("*.arrow")]
        streamed = datasets.load_dataset(
            "arrow", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
        )
        assert streamed.to_list() == table.to_pylist()
        assert streamed.features == loaded.features


def test_the_files_are_those_datasets_itself_writes(tmp_path, ten_languages, make_view):
    view = make_view("sft")
    table = view.rows(*ten_languages)
    save_view([table], view.schema, tmp_path / "ours")
    datasets.Dataset(table).save_to_disk(str(tmp_path / "theirs"))
    for name in ("ours", "theirs"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            "data-00000-of-00001.arrow", "dataset_info.json", "state.json",
        ]  # fmt: skip
    read = {n: (tmp_path / n / "dataset_info.json").read_text() for n in ("ours", "theirs")}
    assert read["ours"] == read["theirs"]
    ours, theirs = (
        json.loads((tmp_path / name / "state.json").read_text()) for name in ("ours", "theirs")
    )
    assert ours | {"_fingerprint": ""} == theirs | {"_fingerprint": ""}
    data = [
        pa.ipc.open_stream((tmp_path / n / "data-00000-of-00001.arrow").read_bytes()).schema
        for n in ("ours", "theirs")
    ]
    assert data[0].equals(data[1], check_metadata=True)


def test_features_are_those_datasets_infers():
    ours = hf_features(WIDE)
    assert ours == datasets.Features.from_arrow_schema(WIDE).to_dict()
    metadata = datasets.Features.from_arrow_schema(with_features(WIDE)).to_dict()
    assert metadata == ours


@pytest.mark.parametrize("tables", [[], [WIDE.empty_table()]])
def test_an_empty_view_loads_with_its_features(tmp_path, tables):
    saved = save_view(tables, WIDE, tmp_path / "empty")
    assert saved.rows == 0
    loaded = datasets.load_from_disk(str(tmp_path / "empty"))
    assert len(loaded) == 0
    assert loaded.features.to_dict() == hf_features(WIDE)


def test_columns_of_nothing_but_nulls_keep_their_types(tmp_path):
    nothing = pa.Table.from_pylist([{}, {}], schema=WIDE)
    something = pa.Table.from_pylist([{"score": 0.5, "tags": ["ü"]}], schema=WIDE)
    save_view([nothing, something], WIDE, tmp_path / "view")
    loaded = datasets.load_from_disk(str(tmp_path / "view"))
    assert loaded["score"][:] == [None, None, 0.5]
    assert loaded.features.arrow_schema.remove_metadata() == WIDE


def test_large_views_are_cut_into_files_and_small_shards_are_put_together(tmp_path):
    tables = [numbers(at * 700, 700) for at in range(10)]
    saved = save_view(tables, tables[0].schema, tmp_path / "view", target_bytes=16_000)
    data = [entry for entry in saved.files if entry.path.endswith(".arrow")]
    assert [entry.path for entry in data] == [f"data-{at:05d}-of-00004.arrow" for at in range(4)]
    assert [entry.rows for entry in data] == [2000, 2000, 2000, 1000]
    assert datasets.load_from_disk(str(tmp_path / "view"))["n"][:] == list(range(7000))
    for entry in saved.files:
        content = (tmp_path / "view" / entry.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.bytes, entry.sha256)
    assert saved.to_json("views/n")["files"][0]["path"] == "views/n/data-00000-of-00004.arrow"


def test_the_bytes_do_not_depend_on_how_the_rows_were_cut(tmp_path):
    one = save_view([numbers(0, 2500)], numbers(0, 0).schema, tmp_path / "one")
    cuts = [numbers(0, 1), numbers(1, 0), numbers(1, 1700), numbers(1701, 799)]
    many = save_view(cuts, numbers(0, 0).schema, tmp_path / "many")
    assert one == many
    other = save_view([numbers(1, 2500)], numbers(0, 0).schema, tmp_path / "other")
    assert other != one


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "views" / "n"
    save_view([numbers(0, 3)], numbers(0, 0).schema, path)

    def broken():
        yield numbers(0, 2000)
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        save_view(broken(), numbers(0, 0).schema, path)
    assert [item.name for item in path.parent.iterdir()] == ["n"]
    assert pa.Table.from_batches(read_view(path)).num_rows == 3
    save_view([numbers(0, 5)], numbers(0, 0).schema, path)
    assert pa.Table.from_batches(read_view(path)).num_rows == 5
    assert [item.name for item in path.parent.iterdir()] == ["n"]


def test_a_damaged_view_is_said_to_be_damaged(tmp_path):
    save_view([numbers(0, 3)], numbers(0, 0).schema, tmp_path / "n")
    (tmp_path / "n" / "data-00000-of-00001.arrow").write_bytes(b"x" * 40)
    with pytest.raises(DamagedRunError, match="not part of a whole view"):
        view_schema(tmp_path / "n")
    (tmp_path / "n" / "state.json").unlink()
    with pytest.raises(DamagedRunError, match=r"state\.json"):
        list(read_view(tmp_path / "n"))

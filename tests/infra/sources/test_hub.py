"""hf: sources through `datasets`, tried on local folders in the hub's layout."""

from __future__ import annotations

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config import PromptsConfig
from arbitrage.errors import ConfigError, SourceError
from arbitrage.infra.sources import check_source, read_prompts

TEXTS = [f"เมือง {i}" for i in range(25)]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder with a train split in two files and a test split."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "set"
    folder.mkdir()
    table = pa.table({"prompt": TEXTS, "language": ["th"] * 25})
    pq.write_table(table.slice(0, 13), folder / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(13), folder / "train-00001-of-00002.parquet")
    pq.write_table(table.slice(0, 2), folder / "test-00000-of-00001.parquet")
    return f"hf:{folder}"


def test_the_train_split_is_streamed_in_order(hub, read, texts):
    chunk = read(hub, chunk_rows=10)
    assert texts(chunk) == TEXTS
    assert set(chunk.prompts["source"].to_pylist()) == {hub.removeprefix("hf:")}


def test_another_split_is_named_in_the_source(hub, read, texts):
    assert texts(read(f"{hub}?split=test")) == TEXTS[:2]
    assert check_source(PromptsConfig(source=hub)).columns["prompt"] == "string"


def test_origins_name_the_row_of_the_split(hub, read, causes):
    chunk = read(hub, where="prompt LIKE '%2%'", max_characters=7, limit=3)
    assert chunk.rows == 3
    assert causes(chunk) == {"13": "too_long", "21": "too_long"}
    assert chunk.graveyard["origin"][0].as_py() == f"{hub}:13"


def test_an_unknown_split_or_key_lists_the_known(hub):
    with pytest.raises(ConfigError, match="Known: test, train"):
        read_prompts(PromptsConfig(source=f"{hub}?split=tran"))
    with pytest.raises(ConfigError, match='Did you mean "split"'):
        read_prompts(PromptsConfig(source=f"{hub}?splt=train"))


def test_a_data_set_that_is_not_there_is_an_error_of_the_source(tmp_path):
    with pytest.raises(SourceError, match="cannot be opened"):
        read_prompts(PromptsConfig(source=f"hf:{tmp_path}/none"))


def test_a_folder_of_save_to_disk_is_read_by_its_path(tmp_path, read, texts):
    columns = {"prompt": TEXTS, "language": ["th"] * 25}
    datasets.disable_progress_bars()
    folder = tmp_path / "saved"
    datasets.Dataset.from_dict(columns).save_to_disk(folder, num_shards=3)
    (folder / "cache-1234.arrow").write_bytes(b"not part of the set")
    assert texts(read(folder, chunk_rows=4)) == TEXTS
    with pytest.raises(SourceError, match="without hf:"):
        read_prompts(PromptsConfig(source=f"hf:{folder}"))


def test_a_folder_of_several_splits_asks_for_one(tmp_path):
    datasets.disable_progress_bars()
    split = datasets.Dataset.from_dict({"prompt": ["a"], "language": ["tr"]})
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match="one split"):
        read_prompts(PromptsConfig(source=str(tmp_path / "saved")))

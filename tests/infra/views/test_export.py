from __future__ import annotations

import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.errors import ConfigError, OutputError, UnknownNameError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.views.export import FORMATS, TRAINERS, export_view
from arbitrage.infra.views.saved import save_view
from arbitrage.infra.views.trainers import CONVERSIONS

COLUMNS = {
    ("sft", "trl"): ["messages"],
    ("sft", "axolotl"): ["messages"],
    ("sft", "llamafactory"): ["messages"],
    ("sft", "openrlhf"): ["input"],
    ("sft", "verl"): [
        "data_source",
        "prompt",
        "ability",
        "reward_model",
        "extra_info",
        "messages",
    ],
    ("preference", "trl"): ["prompt", "chosen", "rejected"],
    ("preference", "axolotl"): ["messages", "chosen", "rejected"],
    ("preference", "llamafactory"): ["messages", "chosen", "rejected"],
    ("preference", "openrlhf"): ["input", "chosen", "rejected"],
    ("kto", "trl"): ["prompt", "completion", "label"],
    ("kto", "axolotl"): ["prompt", "completion", "label"],
    ("kto", "llamafactory"): ["messages", "label"],
    ("rloo", "trl"): ["prompt", "prompt_id", "language", "reference"],
    ("rloo", "openrlhf"): ["input", "label"],
    ("rloo", "verl"): ["data_source", "prompt", "ability", "reward_model", "extra_info"],
    ("prompts", "trl"): ["prompt"],
    ("prompts", "openrlhf"): ["input"],
    ("prompts", "verl"): ["data_source", "prompt", "ability", "reward_model", "extra_info"],
}


# Ten desirable answers and no other: as many rows as the other views have.
LABELLED = {"label_by": "threshold", "threshold": 2.0, "undesirable_threshold": 0.0}


@pytest.fixture
def run(tmp_path, ten_languages, make_view):
    prompts, candidates, rewards = ten_languages
    folder = tmp_path / "run"
    Folder(folder).write_table("prompts/part-00000.arrow", prompts.slice(0, 4))
    Folder(folder).write_table("prompts/part-00001.arrow", prompts.slice(4))
    for name in ("sft", "preference", "kto", "rloo"):
        view = make_view(name, **LABELLED if name == "kto" else {})
        save_view([view.rows(prompts, candidates, rewards)], view.schema, folder / "views" / name)
    return folder


def rows_of(paths) -> pa.Table:
    data = [path for path in paths if path.suffix in {".arrow", ".parquet", ".jsonl"}]
    if data[0].suffix == ".parquet":
        return pq.read_table(data[0])
    if data[0].suffix == ".arrow":
        return pa.concat_tables(pa.ipc.open_stream(path.read_bytes()).read_all() for path in data)
    lines = data[0].read_text(encoding="utf-8").split("\n")
    return pa.Table.from_pylist([json.loads(line) for line in lines if line])


def test_the_table_of_columns_names_every_conversion():
    assert set(COLUMNS) == set(CONVERSIONS)


@pytest.mark.parametrize(("name", "trainer"), COLUMNS)
@pytest.mark.parametrize("kind", FORMATS)
def test_each_trainer_gets_exactly_its_columns_in_each_format(run, tmp_path, name, trainer, kind):
    if trainer == "verl" and kind != "parquet":
        with pytest.raises(ConfigError, match="--format parquet"):
            export_view(run, name, kind, trainer, tmp_path / "out")
        return
    paths = export_view(run, name, kind, trainer, tmp_path / "out")
    assert all(path.is_file() for path in paths)
    table = rows_of(paths)
    assert table.column_names == COLUMNS[name, trainer]
    assert table.num_rows == 10


def test_formats_of_one_export_hold_the_same_rows(run, tmp_path, build):
    tables = [
        rows_of(export_view(run, "preference", kind, "trl", tmp_path / kind)) for kind in FORMATS
    ]
    first = tables[0].to_pylist()
    assert [table.to_pylist() for table in tables] == [first] * 3
    assert [row["prompt"][0]["content"] for row in first] == list(build.texts.values())
    assert datasets.load_from_disk(str(tmp_path / "arrow")).to_list() == first


def test_pairs_for_axolotl_and_llamafactory_have_single_message_objects(run, tmp_path):
    for trainer in ("axolotl", "llamafactory"):
        paths = export_view(run, "preference", "jsonl", trainer, tmp_path / trainer)
        row = rows_of(paths).to_pylist()[0]
        assert row["chosen"]["role"] == row["rejected"]["role"] == "assistant"
        assert row["chosen"]["content"].endswith("good")
        assert [turn["role"] for turn in row["messages"]] == ["user"]


def test_llamafactory_gets_a_registry_that_names_the_file(run, tmp_path):
    for kind in FORMATS:
        out = tmp_path / kind
        export_view(run, "preference", kind, "llamafactory", out)
        entry = json.loads((out / "dataset_info.json").read_text())["preference"]
        assert (out / entry["file_name"]).is_file()
        assert entry["ranking"] is True
        assert entry["formatting"] == "sharegpt"
        assert set(entry["columns"].values()) == {"messages", "chosen", "rejected"}
        loader = {"jsonl": "json"}.get(kind, kind)
        loaded = datasets.load_dataset(
            loader,
            data_files=str(out / entry["file_name"]),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert len(loaded) == 10


def test_verl_rows_carry_the_reference_or_ask_for_a_reward_model(run, tmp_path):
    table = rows_of(export_view(run, "prompts", "parquet", "verl", tmp_path / "prompts"))
    rows = {row["extra_info"]["language"]: row for row in table.to_pylist()}
    assert rows["tr"]["reward_model"] == {"style": "rule", "ground_truth": "r"}
    assert rows["ar"]["reward_model"] == {"style": "model", "ground_truth": ""}
    assert [row["extra_info"]["index"] for row in rows.values()] == list(range(10))
    answered = rows_of(export_view(run, "sft", "parquet", "verl", tmp_path / "sft")).to_pylist()
    assert all(row["reward_model"]["ground_truth"].endswith("good") for row in answered)
    assert [turn["role"] for turn in answered[0]["prompt"]] == ["user"]
    assert [turn["role"] for turn in answered[0]["messages"]] == ["user", "assistant"]


def test_what_does_not_fit_is_refused_with_what_does(run, tmp_path):
    with pytest.raises(ConfigError, match=r"verl has no use.*sft, rloo, prompts.*trl, axolotl"):
        export_view(run, "preference", "parquet", "verl", tmp_path / "out")
    with pytest.raises(UnknownNameError, match='Did you mean "axolotl"'):
        export_view(run, "sft", "jsonl", "axolotle", tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match='Did you mean "preference"'):
        export_view(run, "preferences", "jsonl", "trl", tmp_path / "out")
    with pytest.raises(UnknownNameError, match="not a format"):
        export_view(run, "sft", "csv", "trl", tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_view_the_run_lacks_and_a_run_that_is_not_there_are_said(run, tmp_path):
    (run / "views" / "preference").rename(tmp_path / "elsewhere")
    with pytest.raises(
        UnknownNameError, match=r"not a view of this run.*Known: kto, prompts, rloo, sft"
    ):
        export_view(run, "preference", "jsonl", "trl", tmp_path / "out")
    with pytest.raises(OutputError, match="no run folder"):
        export_view(tmp_path / "nowhere", "sft", "jsonl", "trl", tmp_path / "out")


def test_labelled_answers_are_what_llamafactory_and_axolotl_read(run, tmp_path, build):
    paths = export_view(run, "kto", "jsonl", "llamafactory", tmp_path / "llamafactory")
    row = rows_of(paths).to_pylist()[0]
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
    assert row["label"] is True
    entry = json.loads((tmp_path / "llamafactory" / "dataset_info.json").read_text())["kto"]
    assert entry["columns"] == {"messages": "messages", "kto_tag": "label"}
    row = rows_of(export_view(run, "kto", "jsonl", "axolotl", tmp_path / "axolotl")).to_pylist()[0]
    assert (row["prompt"], row["completion"]) == (build.texts["ar"], f"{build.texts['ar']} good")


def test_axolotl_is_refused_labelled_answers_to_several_turns(tmp_path, build, make_view):
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    view = make_view("kto", **LABELLED)
    shard = build.prompts([build.prompt("x", messages=turns)])
    table = view.rows(shard, build.candidates([build.candidate("c", "x")]), np.array([3.0]))
    save_view([table], view.schema, tmp_path / "run" / "views" / "kto")
    with pytest.raises(ConfigError, match="--trainer trl or llamafactory"):
        export_view(tmp_path / "run", "kto", "jsonl", "axolotl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_both_forms_of_sft_give_the_same_conversations(run, tmp_path, ten_languages, make_view):
    before = rows_of(export_view(run, "sft", "jsonl", "axolotl", tmp_path / "messages"))
    prompts, candidates, rewards = ten_languages
    view = make_view("sft", form="prompt_completion")
    save_view([view.rows(prompts, candidates, rewards)], view.schema, run / "views" / "sft")
    after = rows_of(export_view(run, "sft", "jsonl", "axolotl", tmp_path / "completions"))
    assert after.to_pylist() == before.to_pylist()
    trl = rows_of(export_view(run, "sft", "jsonl", "trl", tmp_path / "trl"))
    assert trl.column_names == ["prompt", "completion"]


def test_what_no_trainer_reads_is_said_with_how_to_load_it(run, tmp_path):
    with pytest.raises(ConfigError, match=r"load_from_disk\(\"RUN/views/offpolicy\"\)"):
        export_view(run, "offpolicy", "parquet", "verl", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"openrlhf has no use.*sft, preference, rloo, prompts"):
        export_view(run, "kto", "jsonl", "openrlhf", tmp_path / "out")


def test_an_export_never_overwrites(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export_view(run, "sft", "jsonl", "trl", out)
    before = (out / "sft.jsonl").read_bytes()
    with pytest.raises(OutputError, match="not empty"):
        export_view(run, "sft", "jsonl", "trl", out)
    assert (out / "sft.jsonl").read_bytes() == before
    with pytest.raises(OutputError, match="is a file"):
        export_view(run, "sft", "jsonl", "trl", out / "sft.jsonl")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_an_empty_view_exports_as_an_empty_table(tmp_path, make_view, trainer):
    view = make_view("sft")
    save_view([], view.schema, tmp_path / "run" / "views" / "sft")
    paths = export_view(tmp_path / "run", "sft", "parquet", trainer, tmp_path / "out")
    table = rows_of(paths)
    assert table.num_rows == 0
    assert table.column_names == COLUMNS["sft", trainer]

"""What `arbitrage view` writes, read by the dataset classes of the trainers themselves.

Their packages are installed without what they train with: a reader needs a tokenizer, not a GPU.
TRL is not here, because tests/train takes whole steps with it. No network.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

# Here and not in the first test, whose time they would take.
pytest.importorskip("torch", reason="torch is not installed: make test-readers")
pytest.importorskip("transformers", reason="transformers is not installed: make test-readers")

# Third parties warn of each other here; what these tests check is ours.
pytestmark = [
    pytest.mark.readers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),
]

# Imported at the top of a reader, used for sound and pictures alone: torchaudio has compiled parts
# for one version of torch each, and verl's vision models want an older transformers.
NOT_NEEDED: dict[str, dict[str, dict[str, Any]]] = {
    "llamafactory": {"torchaudio": {}},
    "verl": {"verl.models.transformers.qwen2_vl": {"get_rope_index": None}},
}
# The prompts of the shard, as the turns' roles; one has a system turn and a history.
ROLES = [["user"]] * 3 + [["system", "user", "assistant", "user"]] + [["user"]] * 4
VIEWS = {
    "sft": {},
    "preference": {},
    "kto": {},
    "rloo": {},
}


@pytest.fixture
def package(monkeypatch):
    """Import modules of a trainer, or skip where its package is not installed."""

    def load(name: str, *modules: str) -> list[ModuleType]:
        # A package called `vllm` or `examples` must not be found among the tests.
        places = [place for place in sys.path if Path(place).name != "tests"]
        monkeypatch.setattr(sys, "path", places)
        pytest.importorskip(name, reason=f"{name} is not installed: make test-readers")
        for absent, content in NOT_NEEDED.get(name, {}).items():
            empty = ModuleType(absent)
            empty.__spec__ = importlib.machinery.ModuleSpec(absent, None)
            vars(empty).update(content)
            monkeypatch.setitem(sys.modules, absent, empty)
        return [importlib.import_module(module) for module in modules]

    return load


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return importlib.import_module("trainer_data").byte_tokenizer()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder as far as exports read it."""
    from arbitrage import registry
    from arbitrage.infra.store.files import Folder
    from arbitrage.infra.views.saved import save_view

    folder: Path = tmp_path_factory.mktemp("run")
    shard = importlib.import_module("trainer_data").decided_shard()
    Folder(folder).write_table("prompts/part-00000.arrow", shard[0])
    for name, params in VIEWS.items():
        entry = registry.views.get(name)
        view = entry.plugin(entry.params(**params))
        if view.surveys:
            view = view.settled([view.survey(*shard[1:])])
        save_view([view.rows(*shard)], view.schema, folder / "views" / name)
    return folder


@pytest.fixture
def export(run, tmp_path):
    def write(view: str, trainer: str, kind: str) -> Path:
        from arbitrage.infra.views.export import export_view

        return export_view(run, view, kind, trainer, tmp_path / f"{view}-{kind}")[0]

    return write


def rows_of(file: Path, tmp_path: Path) -> Any:
    import datasets

    kind = {".jsonl": "json", ".arrow": "arrow"}.get(file.suffix, file.suffix[1:])
    return datasets.load_dataset(
        kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )


def strategy(**data: Any) -> Any:
    """The part of OpenRLHF's strategy that its data sets ask."""
    args = SimpleNamespace(data=SimpleNamespace(apply_chat_template=True, **data))
    return SimpleNamespace(args=args, is_rank_0=lambda: True)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_openrlhf_reads_conversations(package, export, tokenizer, tmp_path, kind):
    (module,) = package("openrlhf", "openrlhf.datasets.sft_dataset")
    data = rows_of(export("sft", "openrlhf", kind), tmp_path)
    read = module.SFTDataset(data, tokenizer, 512, strategy(input_key="input"), num_processors=1)
    assert len(list(read.prompts)) == 8
    assert read.prompts[0] == "<|user|>سؤال 0?<|end|><|assistant|>"
    assert read.responses[0].startswith("cevap")
    assert "<|system|>Kısa.<|end|><|user|>1+1?" in read.prompts[3]
    assert read.collate_fn([read[0], read[3]])


@pytest.mark.parametrize("is_dpo", [True, False])
def test_openrlhf_reads_pairs(package, export, tokenizer, tmp_path, is_dpo):
    (module,) = package("openrlhf", "openrlhf.datasets.reward_dataset")
    data = rows_of(export("preference", "openrlhf", "jsonl"), tmp_path)
    keys = strategy(prompt_key="input", chosen_key="chosen", rejected_key="rejected")
    read = module.RewardDataset(data, tokenizer, 512, keys, is_dpo=is_dpo, num_processors=1)
    assert len(read) == 8
    assert read.prompts[0].endswith("<|user|>سؤال 0?<|end|><|assistant|>")
    assert read.chosens[0].startswith("cevap")
    assert read.chosens[0] != read.rejects[0]
    assert read.collate_fn([read[0], read[3]])


@pytest.mark.parametrize(("view", "labels"), [("rloo", "label"), ("prompts", None)])
def test_openrlhf_reads_prompts(package, export, tokenizer, tmp_path, view, labels):  # noqa: PLR0917
    (module,) = package("openrlhf", "openrlhf.datasets.prompts_dataset")
    data = rows_of(export(view, "openrlhf", "jsonl"), tmp_path)
    keys = strategy(input_key="input", label_key=labels)
    read = module.PromptDataset(data, tokenizer, keys)
    assert len(read) == 8
    assert read[0][1].endswith("<|user|>سؤال 0?<|end|><|assistant|>")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("view", ["sft", "preference", "kto"])
def test_llamafactory_reads_its_registry_and_every_row(package, export, tmp_path, view, kind):
    parser, converter = package(
        "llamafactory", "llamafactory.data.parser", "llamafactory.data.converter"
    )
    file = export(view, "llamafactory", kind)
    (found,) = parser.get_dataset_list([view], str(file.parent))
    assert (found.dataset_name, found.ranking) == (file.name, view == "preference")
    convert = converter.get_dataset_converter(found.formatting, found, SimpleNamespace())
    read = [convert(row) for row in rows_of(file, tmp_path)]
    assert len(read) == (16 if view == "kto" else 8) or view == "kto"
    for row in read:  # an abnormal row would be empty: that is how it is skipped
        assert row["_prompt"][-1]["role"] == "user"
        assert {turn["role"] for turn in row["_response"]} == {"assistant"}
    assert {row["_system"] for row in read} == {"", "Kısa."}
    if view == "preference":
        assert all(len(row["_response"]) == 2 for row in read)
        assert all(row["_response"][0] != row["_response"][1] for row in read)
    if view == "kto":
        assert {row["_response"].index({"role": "assistant", "content": ""}) for row in read} == {
            0,
            1,
        }


def test_axolotl_reads_conversations(package, export, tokenizer, tmp_path):
    module, dictionary = package(
        "axolotl", "axolotl.prompt_strategies.chat_template", "axolotl.utils.dict"
    )
    settings = {"train_on_inputs": False, "sequence_len": 512, "chat_template": "tokenizer_default"}
    config = dictionary.DictDefault(settings)
    reader = module.load(tokenizer, config, dictionary.DictDefault({"type": "chat_template"}))
    rows = list(rows_of(export("sft", "axolotl", "jsonl"), tmp_path))
    assert len(rows) == 8
    for row in rows:
        read = reader.tokenize_prompt(row)
        trained = [
            token
            for token, label in zip(read["input_ids"], read["labels"], strict=True)
            if label != -100
        ]
        assert row["messages"][-1]["content"] in tokenizer.decode(trained)
        assert row["messages"][0]["content"] not in tokenizer.decode(trained)


def test_axolotl_reads_pairs_and_labels(package, export, tokenizer, tmp_path, run):
    pairs, labels, dictionary = package(
        "axolotl",
        "axolotl.prompt_strategies.dpo.chat_template",
        "axolotl.prompt_strategies.kto.user_defined",
        "axolotl.utils.dict",
    )
    config = dictionary.DictDefault(
        {"chat_template": "tokenizer_default", "datasets": [{"type": "chat_template.default"}]}
    )
    found = pairs.default(config)
    transform = found[0] if isinstance(found, tuple) else found
    for row in rows_of(export("preference", "axolotl", "parquet"), tmp_path):
        read = transform(dict(row), tokenizer=tokenizer)
        assert read["prompt"].endswith("<|assistant|>")
        assert read["chosen"].startswith(row["chosen"]["content"])
        assert read["rejected"].startswith(row["rejected"]["content"])
    label = labels.default(
        dictionary.DictDefault({"datasets": [{"type": {"field_label": "label"}}]})
    )
    from arbitrage.errors import ConfigError

    with pytest.raises(ConfigError, match="several turns"):
        export("kto", "axolotl", "jsonl")  # one prompt has a history, which it cannot take
    row = {"prompt": "سؤال?", "completion": "cevap", "label": False}
    assert label(dict(row)) == row


def test_verl_trains_on_conversations(package, export, tokenizer):
    module, omegaconf = package("verl", "verl.utils.dataset.multiturn_sft_dataset", "omegaconf")
    config = omegaconf.OmegaConf.create({"max_length": 512, "ignore_input_ids_mismatch": False})
    read = module.MultiTurnSFTDataset(str(export("sft", "verl", "parquet")), tokenizer, config)
    assert len(read) == 8
    for item in range(8):
        row = read[item]
        answer = tokenizer.decode(row["input_ids"][row["loss_mask"].bool()])
        assert answer.startswith("cevap") or "cevap" in answer
        assert "سؤال" not in answer


@pytest.mark.parametrize("view", ["sft", "rloo", "prompts"])
def test_verl_reads_prompts_of_reinforcement_learning(package, export, tokenizer, tmp_path, view):
    module, omegaconf = package("verl", "verl.utils.dataset.rl_dataset", "omegaconf")
    settings = {"cache_dir": str(tmp_path), "max_prompt_length": 512, "prompt_key": "prompt"}
    config = omegaconf.OmegaConf.create({**settings, "filter_overlong_prompts_workers": 1})
    read = module.RLHFDataset(str(export(view, "verl", "parquet")), tokenizer, config)
    assert len(read) == 8
    row = read[3]
    assert [turn["role"] for turn in row["raw_prompt"]] == ROLES[3]
    assert set(row["reward_model"]) == {"style", "ground_truth"}
    assert row["extra_info"]["prompt_id"] == "p3"
    assert row["index"] == 3

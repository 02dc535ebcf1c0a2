"""One optimiser step of TRL's trainers on views that `datasets` loads as they lie on disk.

The model is a Llama of two layers with random weights and a tokenizer of single bytes: what is
tested is that the columns fit, not that anything is learned. No network, no GPU.
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed: make test-train")

# Third parties warn of each other here; what these tests check is ours.
pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return importlib.import_module("trainer_data").byte_tokenizer()


@pytest.fixture(scope="module")
def config(tokenizer) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        num_labels=1,
    )


@pytest.fixture(scope="module")
def weights(config, tmp_path_factory) -> Path:
    """A saved model: DPO and KTO load their reference model from where the model came from."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp("weights")
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def model(weights) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(weights)


@pytest.fixture(scope="module")
def view(tmp_path_factory, train_shard):
    """Save a view and load it as a trainer's user would."""
    import datasets

    from arbitrage import registry
    from arbitrage.infra.views.saved import save_view

    def load(name: str, *, streaming: bool = False, **params: Any) -> Any:
        entry = registry.views.get(name)
        made = entry.plugin(entry.params(**params))
        if made.surveys:
            made = made.settled([made.survey(*train_shard[1:])])
        folder: Path = tmp_path_factory.mktemp(name) / name
        saved = save_view([made.rows(*train_shard)], made.schema, folder)
        assert saved.rows > 0
        if streaming:
            files = str(folder / "*.arrow")
            return datasets.load_dataset("arrow", data_files=files, split="train", streaming=True)
        return datasets.load_from_disk(str(folder))

    return load


@pytest.fixture(scope="module")
def train_shard() -> Any:
    return importlib.import_module("trainer_data").decided_shard()


def one_step(trainer: Any) -> None:
    """Train, and see that a weight moved and that the loss is a number."""
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    result = trainer.train()
    assert result.global_step == 1
    assert math.isfinite(result.training_loss)
    moved = [
        name for name, value in trainer.model.named_parameters() if not value.equal(before[name])
    ]
    assert moved


def settings(kind: Any, folder: Path, **further: Any) -> Any:
    return kind(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        gradient_checkpointing=False,
        **further,
    )


@pytest.mark.parametrize(
    ("params", "streaming"),
    [
        ({}, False),
        ({"form": "prompt_completion"}, False),
        ({"reasoning": "field", "markers": ["length_bucket"]}, True),
    ],
)
def test_sft_trainer_takes_a_step(tmp_path, model, tokenizer, view, params, streaming):  # noqa: PLR0917
    from trl import SFTConfig, SFTTrainer

    one_step(
        SFTTrainer(
            model=model,
            args=settings(SFTConfig, tmp_path),
            train_dataset=view("sft", streaming=streaming, **params),
            processing_class=tokenizer,
        )
    )


@pytest.mark.parametrize("policy", ["best_worst", "same_teacher"])
def test_dpo_trainer_takes_a_step(tmp_path, model, tokenizer, view, policy):
    from trl import DPOConfig, DPOTrainer

    one_step(
        DPOTrainer(
            model=model,
            args=settings(DPOConfig, tmp_path),
            train_dataset=view("preference", policy=policy),
            processing_class=tokenizer,
        )
    )


def test_kto_trainer_takes_a_step(tmp_path, model, tokenizer, view):
    from trl import KTOConfig, KTOTrainer

    data = view("kto")
    assert set(data["label"]) == {True, False}
    one_step(
        KTOTrainer(
            model=model,
            args=settings(KTOConfig, tmp_path),
            train_dataset=data,
            processing_class=tokenizer,
        )
    )


def test_reward_trainer_takes_a_step(tmp_path, config, tokenizer, view):
    import torch
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    torch.manual_seed(0)
    one_step(
        RewardTrainer(
            model=LlamaForSequenceClassification(config),
            args=settings(RewardConfig, tmp_path),
            train_dataset=view("preference"),
            processing_class=tokenizer,
        )
    )


def test_rloo_trainer_takes_a_step_and_hands_our_columns_to_the_reward(
    tmp_path, model, tokenizer, view, monkeypatch
):
    # TRL looks for a package called vllm, and would find the folder of tests of that name.
    monkeypatch.setattr("sys.path", [place for place in sys.path if Path(place).name != "tests"])
    from trl import RLOOConfig, RLOOTrainer

    seen: dict[str, Any] = {}

    def reward(completions: Any, rewards: Any, candidate_ids: Any, **columns: Any) -> list[float]:
        seen.update(columns, rewards=rewards, candidate_ids=candidate_ids)
        return [float(number) for number in range(len(completions))]

    one_step(
        RLOOTrainer(
            model=model,
            reward_funcs=reward,
            args=settings(RLOOConfig, tmp_path, num_generations=2, max_completion_length=8),
            train_dataset=view("rloo"),
            processing_class=tokenizer,
        )
    )
    assert seen["rewards"][0] == [0.0, 1.0, 2.0, 3.0]
    assert len(seen["candidate_ids"][0]) == 4
    assert {"advantages", "sum_logprobs", "language"} <= set(seen)

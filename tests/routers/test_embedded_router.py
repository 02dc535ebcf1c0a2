"""The learned router with embeddings beside words, and with a set of teachers for a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from reward_logs import topical

from arbitrage.embeddings.hashing import Hashing
from arbitrage.errors import ConfigError, RouterError
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.evaluation import cross_validated
from arbitrage.routers.fit import fit_artefact
from arbitrage.routers.learned import Learned, LearnedParams
from arbitrage.routers.meaning import centred, meaning_of
from arbitrage.routers.policies import EMBEDDED
from arbitrage.routers.reward_log import reward_log_of

POOL = ["both", "sums", "tales"]
TEXTS = ["Write a number about lamp in Turkish.", "Write a story about green river.", ""]
BATCH = PromptBatch(["p", "q", "r"], TEXTS, ["tr", "ko", "fi"], [None] * 3)
KIND = {"kind": "hashing", "dimensions": 256}


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedded")
    meaning = meaning_of(KIND, folder / "vectors")
    fit_artefact(reward_log_of(topical(120), "log"), folder, kind="learned", meaning=meaning)
    return folder


def learned(folder: Path, **params: Any) -> Learned:
    return Learned(LearnedParams(artefact=str(folder), **params), POOL)


def test_a_card_names_the_embeddings_and_weighs_the_router_with_and_without(folder: Path) -> None:
    card = orjson.loads((folder / "card.json").read_bytes())
    assert card["embeddings"] == "hashing@1/256/2-4/read@1"
    assert {"learned", EMBEDDED} <= set(card["metrics"]["routers"])


def test_a_loaded_router_embeds_by_itself_and_each_prompt_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = learned(folder)
    assert plain.model.meaning is not None
    expected = plain.model.expected(BATCH)
    assert plain.probabilities(BATCH).argmax(axis=1)[:2].tolist() == [1, 2]
    kept = learned(folder, embedding_cache=str(tmp_path))
    np.testing.assert_allclose(kept.model.expected(BATCH), expected, atol=1e-6)

    def never(*_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(Hashing, "vectors", never)
    np.testing.assert_allclose(kept.model.expected(BATCH), expected, atol=1e-6)


def test_vectors_of_another_version_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("card.json", "router.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    card = orjson.loads((tmp_path / "card.json").read_bytes())
    card["settings"]["embedding"]["identity"] = "hashing@0/256/2-4/read@1"
    (tmp_path / "card.json").write_bytes(orjson.dumps(card))
    with pytest.raises(RouterError, match="fitted on vectors of hashing@0"):
        learned(tmp_path)


def test_embeddings_are_compared_on_the_same_folds(tmp_path: Path) -> None:
    log = reward_log_of(topical(80), "log")
    names = ("fixed", "learned", EMBEDDED)
    found = cross_validated(log, names, folds=2, meaning=meaning_of(KIND, tmp_path))
    assert found.earned[EMBEDDED].mean() > found.earned["fixed"].mean() + 0.1


def test_what_is_no_embedder_and_who_reads_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no embedder"):
        meaning_of({"kind": "e6"})
    log = reward_log_of(topical(20), "log")
    with pytest.raises(ConfigError, match="does not read embeddings"):
        fit_artefact(log, tmp_path, kind="nearest", meaning=meaning_of(KIND))


def test_blank_prompts_have_no_meaning_and_the_others_length_one() -> None:
    vectors = np.array([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]], np.float32)
    moved = centred(vectors, vectors.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), [1, 0, 1], atol=1e-6)


def test_a_set_is_shared_evenly_and_holds_the_best_teacher(folder: Path) -> None:
    shares = learned(folder, choose="set", set_size=2).probabilities(BATCH)
    assert (np.sort(shares, axis=1) == [0, 0.5, 0.5]).all()
    best = learned(folder).probabilities(BATCH).argmax(axis=1)
    assert (shares[np.arange(3), best] == 0.5).all()


def test_a_teacher_too_dear_is_left_out_of_a_set(folder: Path) -> None:
    dear = learned(folder, choose="set", set_size=2, costs={"sums": 9.0}, cost_weight=9.0)
    assert (dear.probabilities(BATCH)[:, POOL.index("sums")] == 0).all()

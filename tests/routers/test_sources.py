"""Data sets that a reward log names: told apart by text, and a help where rewards are noisy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from reward_logs import table_of

from arbitrage.infra.report.router_card import render_router_card
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import Design
from arbitrage.routers.evaluation import cross_validated, earned_by
from arbitrage.routers.fit import fit_artefact
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.heads import HEADS
from arbitrage.routers.learned import Learned, LearnedParams
from arbitrage.routers.reward_log import RewardLog, reward_log_of
from arbitrage.routers.sources import FEWEST_PROMPTS, MOST, OTHERS, coded, told_held_out

KINDS = ("sums", "tales", "facts", "code")


def examined(count: int, *, seed: int, named: bool = True) -> RewardLog:
    """Prompts of four data sets, each with words of its own; of four teachers one answers most of
    each rightly, and every answer is right or wrong by chance."""
    random = np.random.default_rng(seed)
    rows, sources = [], []
    for index in range(count):
        kind = int(random.integers(len(KINDS)))
        text = " ".join(f"{KINDS[kind]}{word}" for word in random.integers(0, 60, 8))
        for teacher in range(len(KINDS)):
            right = random.random() < (0.62 if teacher == kind else 0.45)
            rows.append((f"p{index:05}", "tr", text, f"t{teacher}", float(right)))
            sources.append(KINDS[kind] if named else None)
    table = table_of(rows).append_column("source", pa.array(sources, pa.string()))
    return reward_log_of(table, "log.parquet")


def test_names_of_data_sets_help_though_only_the_text_is_read_to_route() -> None:
    new = examined(2000, seed=9, named=False)
    gains = []
    for seed in range(4):
        log = examined(400, seed=seed)
        nameless = replace(log, sources=[None] * len(log))
        earned = [
            earned_by(fit_learned(one).expected(new.prompts), new).mean() for one in (log, nameless)
        ]
        gains.append(earned[0] - earned[1])
    assert np.mean(gains) > 0.01
    assert min(gains) > -0.005


@pytest.mark.parametrize("head", HEADS)
def test_every_head_stands_on_them(head: Any) -> None:
    model = fit_learned(examined(600, seed=1), head=head)
    assert model.sources is not None
    assert model.sources.names == tuple(sorted(KINDS))
    best = model.expected(replace(examined(4, seed=2).prompts, texts=[f"{k}1 {k}2" for k in KINDS]))
    assert best.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_an_artefact_keeps_them(tmp_path: Path) -> None:
    log = examined(400, seed=3)
    card = fit_artefact(log, tmp_path / "router", kind="learned")
    said = render_router_card(card)
    assert "from what data set a prompt is: `code`, `facts`, `sums`, `tales`" in said
    assert "(100% of held-out prompts rightly)" in said
    router = Learned(LearnedParams(artefact=str(tmp_path / "router")), log.teachers)
    fitted = fit_learned(log)
    assert fitted.sources is not None
    np.testing.assert_allclose(
        router.model.expected(log.prompts), fitted.expected(log.prompts), atol=1e-6
    )


def test_a_prompt_is_routed_alike_alone_and_among_others() -> None:
    model, batch = fit_learned(examined(400, seed=4)), examined(300, seed=5).prompts
    together = model.expected(batch)
    for place in (0, 137, 299):
        alone = replace(
            batch,
            **{
                name: [getattr(batch, name)[place]]
                for name in ("prompt_ids", "texts", "languages", "tasks")
            },
        )
        np.testing.assert_allclose(model.expected(alone)[0], together[place], atol=1e-6)


def test_chances_of_data_sets_are_calibrated() -> None:
    random = np.random.default_rng(8)
    # Two data sets share half of their words, so that most texts leave a doubt.
    member = random.integers(0, 2, 1200).astype(np.intp)
    texts = [" ".join(f"w{40 * kind + n}" for n in random.integers(0, 80, 3)) for kind in member]
    count = len(texts)
    batch = PromptBatch([str(n) for n in range(count)], texts, ["en"] * count, [None] * count)
    folds = random.integers(0, 5, count).astype(np.intp)
    chances = told_held_out(Design.of(batch), folds, member, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    right, sure = chances.argmax(axis=1) == member, chances.max(axis=1)
    assert 0.8 < right.mean() < 0.97
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        there = (sure >= low) & (sure < high)
        assert there.sum() > 100
        assert abs(sure[there].mean() - right[there].mean()) < 0.06


def test_a_log_that_is_read_by_chunks_tells_them_apart_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = examined(400, seed=7)
    whole = fit_learned(log)
    monkeypatch.setattr("arbitrage.routers.design.IN_MEMORY", 300)
    monkeypatch.setattr("arbitrage.routers.word_columns.CHUNK", 128)
    parts = fit_learned(log)
    assert whole.sources is not None
    assert parts.sources is not None
    np.testing.assert_allclose(parts.sources.weights, whole.sources.weights, atol=1e-4)
    assert parts.sources.told_apart == whole.sources.told_apart


def test_names_that_are_noise_do_no_harm() -> None:
    log = examined(400, seed=6)
    random = np.random.default_rng(0)
    shuffled = replace(log, sources=[log.sources[n] for n in random.permutation(len(log))])
    found = cross_validated(shuffled, ("fixed", "learned"))
    assert found.earned["learned"].mean() >= found.earned["fixed"].mean() - 0.01


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ([None] * 50, ()),
        (["one"] * 50, ()),
        ([f"own {n}" for n in range(50)], ()),
        (["one"] * FEWEST_PROMPTS + [None], ("", "one")),
        (["one"] * (FEWEST_PROMPTS - 1) + ["two"] * FEWEST_PROMPTS, ("", "two")),
    ],
    ids=["none named", "one", "one a prompt", "some unnamed", "one too small"],
)
def test_what_is_told_apart(sources: list[str | None], names: tuple[str, ...]) -> None:
    found, member = coded(sources)
    assert found == names
    assert len(member) == len(sources)


def test_beyond_the_largest_data_sets_all_are_one() -> None:
    names, member = coded([f"s{n:02}" for n in range(MOST + 5) for _ in range(FEWEST_PROMPTS + n)])
    assert len(names) == MOST + 1
    assert names[0] == OTHERS
    assert (member == 0).sum() == sum(FEWEST_PROMPTS + n for n in range(5))

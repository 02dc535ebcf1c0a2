"""The learned router's fit: finds what is there, claims nothing that is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_logs import table_of, topical

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.evaluation import cross_validated, earned_by, scored_on, summarised
from arbitrage.routers.features import _ASCII_TOKENS, _AT_ONCE, _TOKENS, HEAD, TAIL, features
from arbitrage.routers.fitting import fit_learned, harmed
from arbitrage.routers.heads import HEADS
from arbitrage.routers.neighbours import ClusterModel, NearestModel
from arbitrage.routers.pooling import PooledMeans
from arbitrage.routers.reward_log import RewardLog, reward_log_of


def log_of(table: Any) -> RewardLog:
    return reward_log_of(table, "log.parquet")


def batch(*texts: str, language: str = "tr") -> PromptBatch:
    count = len(texts)
    return PromptBatch([str(n) for n in range(count)], texts, [language] * count, [None] * count)


@pytest.mark.parametrize("text", ["用python写一个程序", "excelで表を作る", "เขียนpythonให้หน่อย"])
def test_a_latin_word_ends_where_a_script_without_spaces_begins(text: str) -> None:
    # It would take the rest of the sentence with it.
    word = "excel" if "excel" in text else "python"
    assert _TOKENS.findall(text) == _TOKENS.findall(text.replace(word, f" {word} "))


SUMS, TALES = "Write a number about green lamp in Turkish.", "Write a story about river."


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_which_prompts_suit_which_teacher(head: Any) -> None:
    log = log_of(topical())
    model = fit_learned(log, head=head)
    assert model.weighing.trusted == "learned"
    assert model.weighing.learned > model.weighing.fixed + 0.1
    chosen = model.expected(batch(SUMS, TALES)).argmax(axis=1)
    assert [model.teachers[column] for column in chosen] == ["sums", "tales"]


def test_without_signal_it_is_the_best_teacher_per_language_or_of_all() -> None:
    log = log_of(topical(signal=0.0))
    model = fit_learned(log)
    assert model.weighing.trusted in {"fixed", "single"}
    assert not len(model.weights)
    worth = model.expected(batch(SUMS, TALES, "anything"))
    assert (worth == worth[0]).all()


def test_a_language_that_the_features_harm_is_left_to_its_best_teacher() -> None:
    model = fit_learned(log_of(topical()))
    spared = replace(model, weighing=replace(model.weighing, plain=("ko",)))
    korean = spared.expected(batch(SUMS, TALES, language="ko"))
    assert (korean == model.means.row("ko")).all()
    turkish = batch(SUMS, TALES)
    np.testing.assert_array_equal(spared.expected(turkish), model.expected(turkish))
    few = harmed(["tr"] * 9 + ["ko"], np.array([1.0] * 9 + [-1.0]))
    many = harmed(["tr"] * 200 + ["ko"] * 99, np.array([1.0] * 200 + [-1.0] * 99))
    assert (few, many) == ((), ("ko",))


@pytest.mark.parametrize(
    "rows",
    [
        [("p", "tr", "x", "a", 1.0), ("p", "tr", "x", "b", 0.0)],
        [(f"p{n}", "tr", f"word {n}", "a", n / 9) for n in range(9)],
        [(f"p{n}", "tr", f"word {n}", t, 0.5) for n in range(9) for t in "ab"],
        [(f"p{n}", "tr", None, t, n / 9) for n in range(9) for t in "ab"],
    ],
    ids=["one prompt", "one teacher", "constant rewards", "no texts"],
)
def test_a_log_with_nothing_to_learn_gives_a_router_all_the_same(rows: Any) -> None:
    log = log_of(table_of(rows))
    for model in (fit_learned(log), NearestModel.fit(log), ClusterModel.fit(log)):
        worth = model.expected(batch("x", "new", ""))
        assert worth.shape == (3, len(log.teachers))
        assert np.isfinite(worth).all()
        assert worth[0].argmax() == 0


def test_a_teacher_never_rated_in_a_language_is_not_sent_there() -> None:
    rows = [(f"t{n}", "tr", "x", t, r) for n in range(30) for t, r in (("a", 0.9), ("b", 0.1))]
    rows += [(f"k{n}", "ko", "x", t, r) for n in range(30) for t, r in (("b", 0.1), ("c", 0.0))]
    log = log_of(table_of(rows))
    for model in (fit_learned(log), NearestModel.fit(log), ClusterModel.fit(log)):
        korean = model.expected(batch("x", language="ko"))[0]
        assert korean.tolist().index(-np.inf) == log.teachers.index("a")
        assert log.teachers[int(korean.argmax())] == "b"


def test_a_language_that_was_not_in_the_fit_borrows_from_its_family_then_from_all() -> None:
    tags = ["es"] * 40 + ["ja"] * 40
    rewards = np.array([[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 40)
    means = PooledMeans.of(tags, rewards)
    assert means.row("pt")[0] > means.row("pt")[1]
    assert means.row("es-MX").tolist() == means.row("es").tolist()
    assert means.row("sw").tolist() == [0.5, 0.5]


def test_a_language_with_few_prompts_is_drawn_to_the_others_and_one_with_many_is_not() -> None:
    tags = ["es"] * 1000 + ["it"] * 2 + ["fr"] * 1000
    rewards = np.array([[1.0, 0.0]] * 1000 + [[0.0, 1.0]] * 2 + [[0.0, 1.0]] * 1000)
    means = PooledMeans.of(tags, rewards)
    assert means.row("es")[0] > 0.98
    assert 0.3 < means.row("it")[0] < 0.6


def test_names_of_languages_are_one_word_and_a_megabyte_is_read_at_its_ends() -> None:
    same = batch("Reply in Turkish.", "Reply in Korean.", language="ja")
    counts = features(same)
    assert counts.bins[counts.rows == 0].tolist() == counts.bins[counts.rows == 1].tolist()
    start, end = ("alpha " * HEAD)[:HEAD], (" omega" * TAIL)[-TAIL:]
    long = batch(start + "middle " * 150_000 + end, start + "centre " * 150_000 + end)
    counts = features(long)
    assert counts.bins[counts.rows == 0].tolist() == counts.bins[counts.rows == 1].tolist()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    model = fit_learned(log_of(topical()))
    texts = [SUMS, TALES, "", "🙂 \ud800", "ไทย 한국어"]
    together = model.expected(batch(*texts))
    alone = np.vstack([model.expected(batch(text)) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_all_routers_are_scored_on_the_same_folds_and_the_oracle_is_above_them() -> None:
    log = log_of(topical())
    summary = summarised(cross_validated(log, seed=3), replicates=200)
    routers = summary["routers"]
    assert list(routers) == [
        "uniform",
        "best_single",
        "fixed",
        "nearest",
        "cluster",
        "learned",
        "oracle",
    ]
    means = {name: row["mean_reward"] for name, row in routers.items()}
    assert means["oracle"] == pytest.approx(np.nanmax(log.rewards, axis=1).mean())
    assert means["uniform"] == pytest.approx(np.nanmean(log.rewards))
    assert means["oracle"] > means["learned"] > means["fixed"]
    assert routers["learned"]["vs_fixed"]["ci95"][0] > 0
    assert routers["fixed"]["vs_fixed"]["difference"] == 0
    assert routers["oracle"]["gap_closed"] == pytest.approx(1)
    for row in routers.values():
        low, high = row["ci95"]
        assert low <= row["mean_reward"] <= high
        assert set(row["per_language"]) == {"ko", "tr"}
        assert sum(cell["n_prompts"] for cell in row["per_language"].values()) == len(log)


def test_where_nothing_can_be_gained_the_share_closed_is_not_a_number_but_null() -> None:
    rows = [(f"p{n}", "tr", "x", t, r) for n in range(9) for t, r in (("a", 1.0), ("b", 0.0))]
    summary = summarised(cross_validated(log_of(table_of(rows))), replicates=50)
    assert summary["routers"]["learned"]["gap_closed"] is None


def test_a_test_log_may_have_languages_that_the_fit_had_not() -> None:
    log = log_of(topical())
    rows = [(f"f{n}", "fi", SUMS, t, float(t == "sums")) for n in range(5) for t in log.teachers]
    found = scored_on(log, log_of(table_of(rows)))
    assert found.earned["learned"].tolist() == [1.0] * 5


def test_a_missing_reward_cannot_be_earned() -> None:
    log = log_of(
        table_of([("p", "tr", "x", "a", 0.2), ("q", "tr", "x", "a", 0.4), ("q", "tr", "x", "b", 1)])
    )
    worth = np.array([[0.0, 9.0], [0.0, 9.0]])
    assert earned_by(worth, log).tolist() == [0.2, 1.0]
    assert earned_by(np.full((2, 2), np.nan), log).tolist() == pytest.approx([0.2, 0.7])


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_read_as_any_other_text(text: str) -> None:
    assert _ASCII_TOKENS.findall(text.lower()) == _TOKENS.findall(text.lower())


def test_features_do_not_depend_on_how_many_are_read_at_once() -> None:
    texts = [f"Write {n} words, {'word ' * (n % 7)}о мире" for n in range(_AT_ONCE + 3)]
    many = features(batch(*texts))
    alone = features(batch(*texts[-2:]))
    last = many.rows >= len(texts) - 2
    assert many.bins[last].tolist() == alone.bins.tolist()
    assert many.values[last].tolist() == alone.values.tolist()

"""Elo beside Bradley-Terry, circles that no ranking shows, and variants of one model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_logs import table_of

from arbitrage.routers.elo import START, elo_ratings
from arbitrage.routers.ranking import rank_teachers
from arbitrage.routers.reward_log import RewardLog, reward_log_of
from arbitrage.routers.transitivity import transitivity
from arbitrage.routers.variants import compare_variants

LANGUAGES = [
    "ar",
    "de",
    "en",
    "es",
    "fr",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "pt",
    "ru",
    "tr",
    "vi",
    "zh",
]


def log_of(worth: dict[str, float], count: int = 200, tags: tuple[str, ...] = ("tr",)) -> RewardLog:
    random = np.random.default_rng(3)
    rows = [
        (f"{tag}{n:04}", tag, "x", name, mean + random.normal(0, 0.2))
        for tag in tags
        for n in range(count)
        for name, mean in worth.items()
    ]
    return reward_log_of(table_of(rows), "log")


@settings(max_examples=20)
@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 9))
def test_ratings_keep_their_mean_and_the_order_moves_them(
    teachers: int, prompts: int, seed: int
) -> None:
    rewards = np.random.default_rng(seed).integers(0, 3, (prompts, teachers)).astype(float)
    found = elo_ratings(rewards, seed=seed)
    assert found.mean.mean() == pytest.approx(START)
    assert (found.low <= found.mean + 1e-9).all()
    assert (found.mean <= found.high + 1e-9).all()
    again = elo_ratings(rewards, seed=seed)
    np.testing.assert_array_equal(found.mean, again.mean)


def test_elo_agrees_with_bradley_terry_where_teachers_differ() -> None:
    (ranking,) = rank_teachers(log_of({"a": 0.9, "b": 0.6, "c": 0.3}))[1:]
    ratings = [line.elo for line in ranking.teachers]
    assert [line.teacher for line in ranking.teachers] == ["a", "b", "c"]
    assert ratings == sorted(ratings, reverse=True)
    assert all(low < line.elo < high for line in ranking.teachers for low, high in [line.elo_range])


def test_a_teacher_without_a_match_keeps_the_start() -> None:
    rewards = np.array([[1.0, 0.0, np.nan]] * 5)
    assert elo_ratings(rewards).mean[2] == START
    assert elo_ratings(np.array([[0.5]])).mean.tolist() == [START]


def test_rock_paper_scissors_is_a_circle_and_a_ladder_is_none() -> None:
    turns = [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b")]
    rows = [
        (f"p{n:03}", "tr", "x", name, 1.0 - 0.5 * place)
        for n in range(120)
        for place, name in enumerate(turns[n % 3])
    ]
    ranking = rank_teachers(reward_log_of(table_of(rows), "log"))[1]
    assert ranking.transitivity.triples == 1
    assert ranking.transitivity.sure == (("a", "b", "c"),)
    ladder = rank_teachers(log_of({"a": 0.9, "b": 0.6, "c": 0.3}))[1]
    assert ladder.transitivity.circles == ()


def test_a_circle_of_chance_is_not_called_sure() -> None:
    wins = np.array([[0, 5, 4], [4, 0, 5], [5, 4, 0.0]])
    noise = np.random.default_rng(0).integers(0, 10, (200, 3, 3)).astype(float)
    found = transitivity(["a", "b", "c"], wins, noise)
    assert found.circles == (("a", "b", "c"),)
    assert found.sure == ()


def test_variants_of_a_model_are_compared_with_the_one_of_most_bits_in_each_language() -> None:
    random = np.random.default_rng(0)
    rows = []
    for tag in ("tr", "th"):
        for n in range(150):
            full = random.normal(0.5, 0.1)
            less = full - (0.2 if tag == "th" else 0.0) + random.normal(0, 0.05)
            pairs = (("full", full), ("four", less), ("other", 0.4))
            rows += [(f"{tag}{n:03}", tag, "x", name, value) for name, value in pairs]
    log = reward_log_of(table_of(rows), "log")
    identities = {"four": ("m", "int4"), "full": ("m", "bf16"), "other": ("o", None)}
    found = {item.language: item for item in compare_variants(log, identities)}
    assert set(found) == {"th", "tr", "all"}
    assert all((item.teacher, item.against) == ("four", "full") for item in found.values())
    assert found["th"].difference == pytest.approx(-0.2, abs=0.03)
    assert "four is surely below full in th" in found["th"].says
    assert "four cannot be told from full in tr" in found["tr"].says
    assert compare_variants(log, {"full": ("m", "bf16"), "other": ("o", None)}) == []


def test_a_plain_loss_is_sure_however_many_languages_and_variants_are_looked_at() -> None:
    """A p-value of a thousand draws is 0.002 at least, times 48 tests is no finding at all."""
    random = np.random.default_rng(1)
    rows = []
    for tag in LANGUAGES:
        for n in range(20):
            full = random.normal(0.5, 0.05)
            pairs = (("full", full), ("eight", full - 0.3), ("four", full - 0.4), ("two", 0.0))
            rows += [(f"{tag}{n:03}", tag, "x", name, value) for name, value in pairs]
    log = reward_log_of(table_of(rows), "log")
    bits = {"full": "bf16", "eight": "int8", "four": "int4", "two": "int2"}
    found = compare_variants(log, {name: ("m", precision) for name, precision in bits.items()})
    assert len(found) == 3 * (len(LANGUAGES) + 1)
    assert all("surely below" in item.says for item in found)

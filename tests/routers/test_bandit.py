"""The bandit apart from a run: rows, draws, determinism, what it learns, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.routers.bandit import Bandit, BanditParams
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.drawing import checked_probabilities
from arbitrage.routers.learning import Lessons, State, state_bytes, state_of
from arbitrage.routers.likely_best import likely_best, normal_cdf

TAGS = ("ar", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "en")
ALGORITHMS = ("thompson", "exp3")


def bandit(teachers: int = 3, **params: Any) -> Bandit:
    made = BanditParams(reward="maximize:made.up", **params)
    return Bandit(made, [f"t{place}" for place in range(teachers)])


def prompts(count: int, seed: int = 0, tags: tuple[str, ...] = TAGS) -> PromptBatch:
    random = np.random.default_rng(seed)
    words = np.array(["sea", "winter", "sum", "proof", "tale", "海", "kış"])
    texts = [" ".join(random.choice(words, 4)) for _ in range(count)]
    languages = [tags[place] for place in random.integers(0, len(tags), count)]
    return PromptBatch([f"p{seed}-{i}" for i in range(count)], texts, languages, [None] * count)


def lessons(batch: PromptBatch, worth: Any, teachers: int = 3, seed: int = 0) -> Lessons:
    """One drawn evenly a prompt; its reward is worth(language, teacher) and some noise."""
    random = np.random.default_rng(seed)
    row = np.arange(len(batch))
    teacher = random.integers(0, teachers, len(batch))
    pairs = zip(batch.languages, teacher.tolist(), strict=True)
    reward = np.array([worth(tag, who) for tag, who in pairs], dtype=np.float64)
    reward += random.normal(0, 0.1, len(batch))
    return Lessons(batch, row, teacher, reward, np.full(len(batch), 1 / teachers))


def after(router: Bandit, *taught: Lessons) -> State:
    state: State = {}
    for one in taught:
        state = router.learned(state, one)
    return state


@settings(max_examples=25, deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    teachers=st.integers(1, 5),
    shards=st.lists(st.integers(0, 30), max_size=4),
    scale=st.sampled_from([0.0, 1e-9, 1.0, 1e6]),
    discount=st.sampled_from([0.5, 0.99, 1.0]),
    explore=st.sampled_from([0.0, 0.05, 1.0]),
)
def test_rows_sum_to_one_and_every_teacher_keeps_its_floor(  # noqa: PLR0917
    algorithm: str,
    teachers: int,
    shards: list[int],
    scale: float,
    discount: float,
    explore: float,
) -> None:
    router = bandit(teachers, algorithm=algorithm, discount=discount, explore=explore)
    taught = [
        lessons(prompts(n, seed), lambda tag, who: scale * (who + len(tag)), teachers, seed)
        for seed, n in enumerate(shards)
    ]
    state = after(router, *taught)
    batch = prompts(20, 99, (*TAGS, "sw", "und"))
    shares = checked_probabilities(router.after(state), batch, "bandit@1")
    assert shares.shape == (20, teachers)
    assert (shares >= explore / teachers - 2e-6).all()
    again = router.after(state_of(state_bytes(state), "here"))
    assert np.array_equal(again.probabilities(batch), router.after(state).probabilities(batch))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_row_does_not_depend_on_its_neighbours(algorithm: str) -> None:
    router = bandit(algorithm=algorithm)
    made = [lessons(prompts(200, s), lambda tag, who: who * (tag == "tr"), 3, s) for s in range(3)]
    taught = router.after(after(router, *made))
    batch = prompts(50, 7)
    together = taught.probabilities(batch)
    for place in range(0, 50, 7):
        alone = PromptBatch(
            *([column[place]] for column in (batch.prompt_ids, batch.texts, batch.languages)),
            [None],
        )
        assert np.array_equal(taught.probabilities(alone)[0], together[place])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_finds_the_best_teacher_of_each_language(algorithm: str) -> None:
    def worth(tag: str, who: int) -> float:
        return 1.0 if who == TAGS.index(tag) % 3 else 0.0

    router = bandit(algorithm=algorithm, explore=0.0)
    state = after(router, *(lessons(prompts(400, s), worth, 3, s) for s in range(5)))
    batch = prompts(60, 50)
    shares = router.after(state).probabilities(batch)
    wanted = [TAGS.index(tag) % 3 for tag in batch.languages]
    assert (shares.argmax(axis=1) == wanted).all()
    assert shares.max(axis=1).mean() > (0.95 if algorithm == "thompson" else 0.6)


def test_a_language_that_was_never_met_borrows_from_its_family_and_from_all() -> None:
    romance = ("es", "fr", "it", "pt")
    router = bandit(2, explore=0.0)

    def worth(tag: str, who: int) -> float:
        return float(who == (tag in romance))

    made = lessons(prompts(600, 1, (*romance, "ja", "ko", "zh", "vi", "th")), worth, 2)
    taught = router.after(after(router, made))
    batch = PromptBatch(["a", "b"], ["sea", "sea"], ["ca", "sw"], [None, None])
    catalan, swahili = taught.probabilities(batch)
    assert catalan[1] > 0.8
    assert swahili[1] < catalan[1]


def test_with_a_discount_it_follows_a_teacher_that_changes() -> None:
    first = [lessons(prompts(200, s), lambda tag, who: who == 0, 2, s) for s in range(6)]
    second = [lessons(prompts(200, s), lambda tag, who: who == 1, 2, s) for s in range(6, 9)]
    batch = prompts(40, 77)
    found = {
        discount: router.after(after(router, *first, *second)).probabilities(batch)[:, 1].mean()
        for discount in (1.0, 0.99)
        for router in [bandit(2, discount=discount)]
    }
    assert found[0.99] > 0.9
    assert found[1.0] < 0.5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_constant_rewards_and_no_rewards_leave_everybody_a_share(algorithm: str) -> None:
    router = bandit(algorithm=algorithm)
    batch = prompts(300)
    third = np.full(len(batch), 1 / 3)
    same = Lessons(batch, np.arange(300), np.arange(300) % 3, np.full(300, 0.7), third)
    shares = router.after(after(router, same)).probabilities(batch)
    assert abs(shares.mean(axis=0) - 1 / 3).max() < 0.05
    none = np.zeros(0, np.int64)
    silent = Lessons(batch, none, none, np.zeros(0), np.zeros(0))
    shares = router.after(after(router, silent, silent)).probabilities(batch)
    assert np.allclose(shares, 1 / 3)
    assert np.allclose(router.probabilities(batch), 1 / 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reward": "length.words"},
        {"explore": 1.5},
        {"discount": 0.0},
        {"lag": 0},
        {"algorithm": "ucb"},
        {"window": 3},
    ],
)
def test_params_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BanditParams.model_validate({"reward": "maximize:a.b"} | wrong)


def test_chances_to_be_the_best_are_those_of_drawing() -> None:
    random = np.random.default_rng(3)
    for _ in range(10):
        width = int(random.integers(2, 6))
        mean, deviation = random.normal(size=(1, width)), random.uniform(0.1, 1, (1, width))
        drawn = mean + deviation * random.normal(size=(100_000, width))
        share = np.bincount(drawn.argmax(axis=1), minlength=width) / len(drawn)
        assert abs(likely_best(mean, deviation)[0] - share).max() < 0.01
    assert likely_best(np.array([[2.0, 1.0]]), np.zeros((1, 2))).tolist() == [[1.0, 0.0]]
    never = likely_best(np.array([[-np.inf, 1.0]]), np.ones((1, 2)))
    assert never.tolist() == [[0.0, 1.0]]
    assert abs(normal_cdf(np.array([2.5758293])) - 0.995).max() < 1e-6


def told(count: int, seed: int, worth: Any) -> Lessons:
    """Prompts that say "number" or "story" and much else; worth(about numbers, teacher)."""
    random = np.random.default_rng(seed)
    numbers = random.random(count) < 0.5
    filler = np.array([f"word{place}" for place in range(40)])
    texts = [
        f"{'number' if one else 'story'} {' '.join(random.choice(filler, 4))}" for one in numbers
    ]
    names = [f"p{seed}-{place}" for place in range(count)]
    batch = PromptBatch(names, texts, ["tr"] * count, [None] * count)
    teacher = random.integers(0, 2, count)
    reward = np.array([worth(one, who) for one, who in zip(numbers, teacher, strict=True)])
    reward = reward + random.normal(0, 0.1, count)
    return Lessons(batch, np.arange(count), teacher, reward, np.full(count, 0.5))


def test_words_are_read_where_they_say_who_is_better() -> None:
    router = bandit(2, explore=0.0)
    made = [told(300, seed, lambda number, who: float(number == who)) for seed in range(4)]
    fresh = told(100, 50, lambda number, who: 0.0)
    shares = router.after(after(router, *made)).probabilities(fresh.batch)
    wanted = [int(text.startswith("number")) for text in fresh.batch.texts]
    assert shares[np.arange(100), wanted].mean() > 0.9


def test_what_is_hard_for_everybody_is_no_reason_to_explore() -> None:
    router = bandit(2, explore=0.0)
    made = [told(300, seed, lambda number, who: 2.0 * number + 0.06 * who) for seed in range(4)]
    fresh = told(100, 50, lambda number, who: 0.0)
    shares = router.after(after(router, *made)).probabilities(fresh.batch)
    assert shares[:, 1].mean() > 0.95

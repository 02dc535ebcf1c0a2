"""A new router takes over where it is not worse on the same rewards, and says why."""

from __future__ import annotations

import numpy as np
import pytest
from reward_logs import table_of, topical

from arbitrage.errors import ConfigError
from arbitrage.languages import language_table
from arbitrage.routers.contest import IN_USE, contest, judged, worth_of
from arbitrage.routers.evaluation import Evaluation
from arbitrage.routers.fit import KINDS
from arbitrage.routers.reward_log import RewardLog, reward_log_of


def log_of(count: int = 120, **more: float) -> RewardLog:
    return reward_log_of(topical(count, **more), "log")  # type: ignore[arg-type]


def earned(apart: np.ndarray, tags: list[str] | None = None) -> Evaluation:
    """A router that earns `apart` more than the one in use."""
    tags = tags or ["tr"] * len(apart)
    rows = [(f"p{n:03}", tag, "x", "a", 0.5) for n, tag in enumerate(tags)]
    log = reward_log_of(table_of(rows), "log")
    base = np.full(len(apart), 0.5)
    routers = {"learned": base + apart, IN_USE: base, "best_single": base}
    return Evaluation(log, routers, {}, "made up")


def test_the_first_artefact_is_compared_with_the_best_single_teacher() -> None:
    found = judged(log_of(), "learned")
    verdict = contest(found, "learned")
    assert verdict.rival == "best_single"
    assert verdict.promoted
    assert verdict.difference > 0.1
    assert "none in use" in verdict.why


def test_a_better_one_than_the_one_in_use_is_promoted_and_the_reverse_is_not() -> None:
    log = log_of()
    fixed, learned = KINDS["fixed"](log), KINDS["learned"](log)
    better = contest(judged(log, "learned", in_use=fixed), "learned")
    assert better.promoted
    assert "surely better than the artefact in use" in better.why
    worse = contest(judged(log, "fixed", in_use=learned), "fixed")
    assert not worse.promoted
    assert worse.difference < 0
    assert "earns less than the artefact in use" in worse.why


def test_what_makes_no_difference_is_promoted_and_called_chance() -> None:
    verdict = contest(earned(np.zeros(50)), "learned")
    assert verdict.promoted
    assert "not worse" in verdict.why
    assert "may be chance" in verdict.why


def test_a_tolerated_loss_is_tolerated() -> None:
    apart = np.full(50, -0.01)
    assert not contest(earned(apart), "learned").promoted
    # A loss that is the same everywhere is also surely one in the only language.
    spread = np.where(np.arange(50) % 2, 0.5, -0.52)
    assert contest(earned(spread), "learned", max_loss=0.05).promoted


def test_harm_to_one_language_is_not_outweighed_by_the_others() -> None:
    tags = ["tr"] * 60 + ["th"] * 60
    apart = np.concatenate([np.full(60, 0.3), np.full(60, -0.1)])
    verdict = contest(earned(apart, tags), "learned")
    assert verdict.difference > 0
    assert verdict.worse_in == ("th",)
    assert not verdict.promoted
    assert "surely below the artefact in use in th" in verdict.why


def test_harm_to_one_language_of_eighty_is_seen_too() -> None:
    tags = [facts.tag for facts in language_table().values() if "-" not in facts.tag][:80]
    assert "hi" in tags
    apart = np.repeat([0.1 if tag != "hi" else -0.4 for tag in tags], 12)
    verdict = contest(earned(apart, [tag for tag in tags for _ in range(12)]), "learned")
    assert verdict.worse_in == ("hi",)


def test_below_the_floor_nothing_is_promoted() -> None:
    verdict = contest(earned(np.zeros(50)), "learned", min_reward=0.9)
    assert not verdict.promoted
    assert "calibrate.min_reward = 0.9" in verdict.why


def test_only_prompts_drawn_at_random_are_judged_on_and_all_are_learned_from() -> None:
    log = log_of()
    at_random = np.arange(len(log)) < 40
    found = judged(log, "learned", at_random=at_random)
    assert len(found.log) == 40
    assert all(len(values) == 40 for values in found.earned.values())
    np.testing.assert_array_equal(
        found.earned["learned"], judged(log, "learned").earned["learned"][:40]
    )
    assert "scored on the 40 prompts drawn at random" in found.split


def test_the_one_in_use_may_know_other_teachers() -> None:
    log = log_of()
    model = KINDS["fixed"](log.among(["sums", "tales"]))
    worth = worth_of(model, log)
    assert np.isneginf(worth[:, log.teachers.index("both")]).all()
    assert np.isfinite(worth[:, log.teachers.index("sums")]).all()
    assert contest(judged(log, "learned", in_use=model), "learned").promoted


def test_too_few_random_prompts_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"1 of the prompts.*calibrate.prompts"):
        judged(log_of(), "learned", at_random=np.arange(120) < 1)

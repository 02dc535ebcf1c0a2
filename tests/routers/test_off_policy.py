"""Off-policy value on made logs, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from arbitrage.errors import ConfigError
from arbitrage.routers.off_policy import LoggedRun, off_policy_value

MEANS = np.array([0.2, 0.5, 0.8])
TAGS = ("ar", "tr", "vi", "zh")


def made(count: int, seed: int, old: list[float], new: list[float]) -> tuple[LoggedRun, float]:
    """One teacher drawn a prompt by `old`; the expected reward depends on teacher and language."""
    random = np.random.default_rng(seed)
    language = random.integers(0, len(TAGS), count)
    expected = MEANS[None] + 0.05 * language[:, None] * np.array([1, 0, -1])
    drawn = random.choice(3, count, p=old)
    rows = np.arange(count)
    rewards, shares = np.full((count, 3), np.nan), np.zeros((count, 3))
    rewards[rows, drawn] = random.random(count) < expected[rows, drawn]
    shares[rows, drawn] = np.array(old)[drawn]
    log = LoggedRun(
        [TAGS[place] for place in language],
        rewards,
        shares,
        np.tile(old, (count, 1)),
        np.tile(new, (count, 1)),
    )
    # Over all languages, which is what another sample of prompts would have.
    middle = MEANS + 0.05 * 1.5 * np.array([1, 0, -1])
    return log, float(middle @ np.array(new))


@pytest.mark.parametrize("estimate", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(estimate: str) -> None:
    held = 0
    values = []
    for seed in range(120):
        log, truth = made(300, seed, [0.5, 0.3, 0.2], [0.1, 0.3, 0.6])
        found = off_policy_value(log, replicates=200, seed=seed)["estimates"][estimate]
        held += found["ci95"][0] <= truth <= found["ci95"][1]
        values.append(found["value"])
    assert 0.88 <= held / 120 <= 1
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(120)


def test_the_old_router_is_worth_what_it_earned() -> None:
    log, _ = made(200, 1, [0.5, 0.3, 0.2], [0.5, 0.3, 0.2])
    found = off_policy_value(log)
    assert found["logged"]["value"] == pytest.approx(np.nanmean(log.rewards))
    assert found["estimates"]["ips"]["value"] == pytest.approx(found["logged"]["value"])
    assert found["estimates"]["ips"]["vs_logged"]["ci95"] == pytest.approx((0, 0))
    assert found["effective_sample_size"] == pytest.approx(200)
    assert found["warnings"] == []


def test_a_better_router_is_seen_to_be_better_and_dr_is_surer_than_ips() -> None:
    log, truth = made(2000, 2, [0.4, 0.3, 0.3], [0.0, 0.0, 1.0])
    found = off_policy_value(log)["estimates"]
    assert found["dr"]["vs_logged"]["ci95"][0] > 0
    wide = {name: row["ci95"][1] - row["ci95"][0] for name, row in found.items()}
    assert wide["dr"] < wide["ips"]
    assert found["dr"]["value"] == pytest.approx(truth, abs=0.08)


def test_several_teachers_a_prompt_weigh_by_their_inclusion_probabilities() -> None:
    random = np.random.default_rng(0)
    count, pi = 4000, np.array([1.0, 0.6, 0.4])
    second = random.random(count) < 0.6
    there = np.column_stack([np.ones(count, bool), second, ~second])
    rewards = np.where(there, random.random((count, 3)) < MEANS, np.nan)
    new = np.tile([0.2, 0.4, 0.4], (count, 1))
    old = np.tile([0.5, 0.3, 0.2], (count, 1))
    log = LoggedRun(["tr"] * count, rewards, np.where(there, pi, 0.0), old, new)
    for row in off_policy_value(log)["estimates"].values():
        assert row["value"] == pytest.approx(float(MEANS @ new[0]), abs=0.04)


def test_few_effective_prompts_and_teachers_never_drawn_are_warned_of() -> None:
    log, _ = made(400, 3, [0.98, 0.01, 0.01], [0.0, 0.0, 1.0])
    found = off_policy_value(log)
    assert found["effective_sample_size"] < 20
    assert any("differ too much" in said for said in found["warnings"])
    log, _ = made(400, 4, [0.5, 0.5, 0.0], [0.0, 0.0, 1.0])
    found = off_policy_value(log)
    assert found["unseen_mass"] == 1
    assert found["estimates"]["ips"]["value"] == 0
    assert found["estimates"]["snips"]["value"] is None
    assert any("never draws" in said for said in found["warnings"])


def test_one_prompt_one_teacher_and_constant_rewards_have_a_value() -> None:
    one = LoggedRun(["tr"], np.array([[0.7]]), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    found = off_policy_value(one)
    assert found["estimates"]["dr"]["value"] == pytest.approx(0.7)
    assert found["estimates"]["dr"]["ci95"] is None
    log, _ = made(50, 5, [0.5, 0.3, 0.2], [0.1, 0.3, 0.6])
    rewards = np.where(np.isnan(log.rewards), np.nan, 0.3)
    same = LoggedRun(log.languages, rewards, log.propensities, log.old, log.new)
    assert off_policy_value(same)["estimates"]["snips"]["value"] == pytest.approx(0.3)


def test_no_reward_and_infinite_rewards_are_errors() -> None:
    none = np.zeros((0, 2))
    with pytest.raises(ConfigError, match="no prompt of the run has a reward"):
        off_policy_value(LoggedRun([], none, none, none, none))
    whole = np.ones((1, 1))
    with pytest.raises(ConfigError, match="infinite"):
        off_policy_value(LoggedRun(["tr"], whole * np.inf, whole, whole, whole))

"""A floor per language in whole runs: who decides, what is counted, and deciding again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from audits import write_audit
from reward_server import RewardServer
from run_configs import TEXTS, parsed, replay_data, run_steps, stable_rows

from arbitrage.errors import ConfigError
from arbitrage.flows.redecide import redecide
from arbitrage.infra.store import open_run
from arbitrage.infra.store.rewards import reward_table
from arbitrage.infra.store.verify import verify_run
from arbitrage.tasks.rewards import reward_log_table
from arbitrage.tasks.trust import may_be_learned

JUDGE = "maximize:judge.score"
LOW = ("ar", "th")
UNKNOWN = ("vi",)


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


def data_of(folder: Path, server: RewardServer, **rewards: Any) -> dict[str, Any]:
    """Ten languages; the judge fails in two and was never audited in one."""
    data = replay_data(folder, samples=2, per_language=2)
    judge = {"base_url": server.base_url, "model": "gpt-9", "concurrency": 4}
    filters: dict[str, dict[str, Any]] = {"length": {}, "language_id": {}, "judge": judge}
    lows = {tag: 0.5 if tag in LOW else 0.8 for tag in TEXTS if tag not in UNKNOWN}
    audit = write_audit(folder / "audit.json", filters, {JUDGE: lows})
    return {
        **data,
        "filters": filters,
        "select": {"objective": JUDGE, "per_prompt": 1},
        "views": {"sft": {}, "preference": {"pairs_per_prompt": 3}, "kto": {}, "rloo": {}},
        "rewards": {"audit": audit, **rewards},
    }


def pair_languages(run: Any, view: str = "preference") -> set[str]:
    return set(open_run(run).view(view).collect()["language"])


def uses_of(run: Any) -> dict[str, dict[str, Any]]:
    rewards = open_run(run).manifest["rewards"]
    return {use["where"]: use["languages"] for use in rewards["uses"]}


def test_below_the_floor_and_unaudited_no_pairs_are_made_and_each_is_counted(
    tmp_path: Path, server: RewardServer
) -> None:
    run = run_steps(parsed(data_of(tmp_path, server, otherwise="nothing")))
    refused = {*LOW, *UNKNOWN}
    for view in ("preference", "kto", "rloo"):
        assert pair_languages(run, view).isdisjoint(refused), view
    assert {"tr", "ja"} <= pair_languages(run)
    assert pair_languages(run, "sft") == set(TEXTS)
    opened = open_run(run)
    kept = opened.candidates.filter(pl.col("kept")).collect()["language"]
    for tag in refused:
        found = uses_of(run)["views.preference"][tag]
        assert found["standing"] == ("not_audited" if tag in UNKNOWN else "below_floor")
        assert (found["used"], found["unranked"]) == (None, (kept == tag).sum())
    assert uses_of(run)["views.preference"]["tr"]["used"] == JUDGE
    totals = opened.manifest["totals"]
    assert totals["requested"] == totals["kept"] + totals["rejected"] + totals["failed"]
    assert verify_run(run).ok


def test_the_language_stands_in_and_chooses_the_answer_that_is_in_it(
    tmp_path: Path, server: RewardServer
) -> None:
    run = run_steps(parsed(data_of(tmp_path, server)))
    rows = open_run(run).candidates.filter(pl.col("chosen")).collect()
    # beta answers in Turkish always, and as long: only the language tells the two apart.
    assert set(rows.filter(pl.col("language").is_in(LOW))["teacher"]) == {"alpha"}
    assert {*LOW, *UNKNOWN} <= pair_languages(run)
    pairs = open_run(run).view("preference").collect().filter(pl.col("language").is_in(LOW))
    assert set(pairs["chosen_teacher"]) == {"alpha"}
    assert set(pairs["rejected_teacher"]) == {"beta"}
    # Groups to learn numbers from take no other reward's numbers.
    assert pair_languages(run, "rloo").isdisjoint({*LOW, *UNKNOWN})
    assert uses_of(run)["views.rloo"]["ar"]["used"] is None
    assert uses_of(run)["views.kto"]["ar"]["used"] == "maximize:language_id.match"


def test_margins_of_one_reward_are_not_applied_to_another(
    tmp_path: Path, server: RewardServer
) -> None:
    data = data_of(tmp_path, server)
    data["views"] = {"preference": {"min_margin": 0.5}}
    assert pair_languages(run_steps(parsed(data))).isdisjoint({*LOW, *UNKNOWN})


def test_card_and_report_say_where_the_reward_did_not_decide(
    tmp_path: Path, server: RewardServer
) -> None:
    run = run_steps(parsed(data_of(tmp_path, server, otherwise="nothing")))
    for name in ("README.md", "report.html"):
        text = (run / name).read_text(encoding="utf-8")
        assert "below the floor 0.6 in ar 55.0%" in text, name
        assert "never audited in vi" in text, name
        assert "nobody_evaluates" in text, name
        assert "gpt-9" in text, name


def test_deciding_again_applies_a_new_audit_and_asks_no_server(
    tmp_path: Path, server: RewardServer
) -> None:
    data = data_of(tmp_path, server, otherwise="nothing")
    run = run_steps(parsed(data))
    sent = len(server.bodies)
    (tmp_path / "audit.json").unlink()  # the run carries what it read
    same = redecide(run, run_id="same")
    assert stable_rows(same) == stable_rows(run)
    lower = redecide(run, overrides=["rewards.floor=0.4"], run_id="lower")
    assert pair_languages(lower).isdisjoint(UNKNOWN)
    assert set(LOW) <= pair_languages(lower)
    trusting = redecide(run, overrides=['rewards.unaudited="trust"'], run_id="trusting")
    assert set(UNKNOWN) <= pair_languages(trusting)
    assert "taken_on_trust" in str(open_run(trusting).manifest["rewards"])
    other = write_audit(tmp_path / "other.json", data["filters"], {JUDGE: {"vi": 0.9}})
    newer = redecide(run, overrides=[f'rewards.audit="{other}"'], run_id="newer")
    assert pair_languages(newer) == {"vi"}
    assert len(server.bodies) == sent


def test_another_judge_than_the_audited_one_is_refused_before_anything_is_asked(
    tmp_path: Path, server: RewardServer
) -> None:
    from arbitrage.flows.plan import plan_run

    data = data_of(tmp_path, server)
    data["filters"]["judge"]["model"] = "gpt-10"
    with pytest.raises(ConfigError, match="measured by another model"):
        plan_run(parsed(data), 1.0)
    assert not server.bodies


def test_labels_for_a_router_are_left_out_where_the_reward_fails(
    tmp_path: Path, server: RewardServer
) -> None:
    config = parsed(data_of(tmp_path, server))
    run = open_run(run_steps(config))
    log = pl.DataFrame(reward_log_table({"random": run}, JUDGE, config=config))
    labelled = log.filter(pl.col("reward").is_not_null())["language"]
    assert set(labelled) == set(TEXTS) - {*LOW, *UNKNOWN}
    everywhere = pl.DataFrame(reward_log_table({"random": run}, JUDGE))
    assert everywhere["reward"].null_count() == 0
    # So it is of a run that `router fit` is given as its log.
    fitted = pl.DataFrame(may_be_learned(run, reward_table(run, JUDGE), "judge.score"))
    assert set(fitted.filter(pl.col("reward").is_null())["language"]) == {*LOW, *UNKNOWN}


def test_what_audit_reward_writes_is_what_a_run_reads(tmp_path: Path, server: RewardServer) -> None:
    from arbitrage.config import parse_filters
    from arbitrage.flows.audit import audit_rewards, write_audit

    asks = f'judge:base_url="{server.base_url}",model="gpt-9",concurrency=2'
    pairs = [
        {
            "prompt": f"{TEXTS[tag]} {number}",
            "chosen": "bir iki üç dört" if right else "bir",
            "rejected": "bir" if right else "bir iki üç dört",
            "language": tag,
        }
        for tag, share in (("tr", 1.0), ("ar", 0.5), ("th", 1.0))
        for number in range(20)
        for right in [number < 20 * share]
    ]
    table = tmp_path / "pairs.parquet"
    pl.DataFrame(pairs).write_parquet(table)
    write_audit(audit_rewards([table], parse_filters([asks, "length"])), tmp_path / "audit")
    data = data_of(tmp_path, server, otherwise="nothing")
    data["rewards"]["audit"] = str(tmp_path / "audit" / "audit.json")
    run = run_steps(parsed(data))
    assert pair_languages(run) == {"tr", "th"}
    found = uses_of(run)["views.preference"]["ar"]
    assert (found["standing"], found["accuracy"], found["pairs"]) == ("below_floor", 0.5, 20)

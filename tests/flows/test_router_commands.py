"""`arbitrage router fit` and `arbitrage router evaluate`, as a program reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
from reward_logs import table_of, topical

from arbitrage.infra.store import open_run
from arbitrage.infra.store.rewards import reward_of, reward_table

ROUTERS = ["uniform", "best_single", "fixed", "nearest", "cluster", "learned", "oracle"]


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    pq.write_table(topical(120), tmp_path / "log.parquet")
    return tmp_path / "log.parquet"


def test_evaluate_prints_the_contracts_json(arbitrage: Callable[..., Any], log: Path) -> None:
    said = arbitrage("router", "evaluate", log, "--json")
    assert said.code == 0
    found = orjson.loads(said.out)
    assert found["n_prompts"] == 120
    assert found["teachers"] == ["both", "sums", "tales"]
    assert list(found["routers"]) == ROUTERS
    for row in found["routers"].values():
        assert row["ci95"][0] <= row["mean_reward"] <= row["ci95"][1]
        assert isinstance(row["gap_closed"], float)
        assert set(row["vs_fixed"]) >= {"difference", "ci95"}
        assert set(row["per_language"]) == {"ko", "tr"}
    assert found["routers"]["fixed"]["gap_closed"] == 0
    assert found["routers"]["learned"]["gap_closed"] > 0.5


def test_with_a_test_log_it_is_scored_there(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    pq.write_table(topical(40, seed=9), tmp_path / "later.parquet")
    said = arbitrage("router", "evaluate", log, "--test", tmp_path / "later.parquet", "--json")
    assert said.code == 0
    found = orjson.loads(said.out)
    assert found["n_prompts"] == 40
    assert found["routers"]["learned"]["vs_fixed"]["ci95"][0] > 0


def test_the_table_names_every_router_for_a_reader(
    arbitrage: Callable[..., Any], log: Path
) -> None:
    said = arbitrage("router", "evaluate", log, "--folds", "2")
    assert said.code == 0
    assert all(name in said.out for name in ROUTERS)
    assert "120 prompts, 3 teachers, 2 folds by prompt" in " ".join(said.out.split())


def test_fit_writes_an_artefact_says_who_leads_and_ends_with_its_folder(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    said = arbitrage("router", "fit", log, "-o", tmp_path / "made", "--kind", "learned")
    assert said.code == 0
    assert said.out.splitlines()[-1] == str(tmp_path / "made")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "card.json",
        "card.md",
        "router.npz",
    }
    assert " in tr" in said.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no rows"),
        ([("p", "tr", "x", "a", float("inf"))], "infinite"),
        ([("p", "tr", "x", "a", 1.0)], "cross-validation needs two prompts"),
    ],
)
def test_a_bad_log_is_an_error_of_one_line_and_exit_code_2(
    arbitrage: Callable[..., Any], tmp_path: Path, rows: Any, message: str
) -> None:
    pq.write_table(table_of(rows), tmp_path / "bad.parquet")
    said = arbitrage("router", "evaluate", tmp_path / "bad.parquet", "--json")
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert not said.out


def test_logs_of_other_teachers_cannot_be_compared_and_of_some_others_can(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    rows: list[Any] = [("p", "tr", "x", "stranger", 1.0)]
    pq.write_table(table_of(rows), tmp_path / "other.parquet")
    said = arbitrage("router", "evaluate", log, "--test", tmp_path / "other.parquet")
    assert said.code == 2
    assert "stranger" in said.err
    rows += [("p", "tr", "x", "sums", 0.5), ("p", "tr", "x", "tales", 0.25)]
    pq.write_table(table_of(rows), tmp_path / "other.parquet")
    said = arbitrage("router", "evaluate", log, "--test", tmp_path / "other.parquet", "--json")
    found = orjson.loads(said.out)
    assert found["teachers"] == ["sums", "tales"]
    assert found["routers"]["oracle"]["mean_reward"] == 0.5
    assert "only in the test and left out: stranger" in found["notes"]
    assert "only in the log and left out: both" in found["notes"]


def test_an_unknown_kind_names_the_known_ones(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    said = arbitrage("router", "fit", log, "-o", tmp_path / "made", "--kind", "lerned")
    assert said.code == 2
    assert 'Did you mean "learned"?' in said.err


@pytest.mark.parametrize("command", ["fit", "evaluate", "rank", "rollback"])
def test_help_shows_an_example(arbitrage: Callable[..., Any], command: str) -> None:
    said = arbitrage("router", command, "--help")
    assert said.code == 0
    assert f"Example: arbitrage router {command}" in " ".join(said.out.split())


def test_a_finished_run_is_a_reward_log(arbitrage: Callable[..., Any], pristine: Path) -> None:
    said = arbitrage("router", "evaluate", pristine, "--reward", "length.words", "--json")
    assert said.code == 0, said.err
    assert "the reward is length.words" in said.err
    found = orjson.loads(said.out)
    assert found["n_prompts"] == 30
    run = open_run(pristine)
    by_hand = run.candidates.group_by("prompt_id", "teacher").agg(pl.col("length.words").mean())
    means = by_hand.group_by("prompt_id").agg(pl.col("length.words").mean()).collect()
    assert found["routers"]["uniform"]["mean_reward"] == pytest.approx(
        means["length.words"].mean(), rel=1e-6
    )


def test_of_a_run_the_reward_is_by_default_what_it_chose_by(pristine: Path) -> None:
    run = open_run(pristine)
    assert reward_of(run) == "maximize:lexical_diversity.mtld"
    up, down = (reward_table(run, f"{way}:length.words") for way in ("maximize", "minimize"))
    assert up.num_rows == 60
    assert set(up["language"].to_pylist()) >= {"ar", "hi", "ja", "ko", "ru", "th", "tr"}
    assert all(up["prompt"].to_pylist())
    ups, downs = up["reward"].to_pylist(), down["reward"].to_pylist()
    assert ups == [-x for x in downs]


@pytest.mark.parametrize(
    ("reward", "complaint"),
    [("length.wrds", "length.words"), ("biggest:length.words", "is not an objective")],
)
def test_a_reward_the_run_does_not_hold_is_refused(
    arbitrage: Callable[..., Any], pristine: Path, reward: str, complaint: str
) -> None:
    said = arbitrage("router", "evaluate", pristine, "--reward", reward)
    assert said.code == 2
    assert complaint in said.complaint


def test_a_log_has_its_reward_in_a_column(arbitrage: Callable[..., Any], log: Path) -> None:
    said = arbitrage("router", "evaluate", log, "--reward", "length.words")
    assert said.code == 2
    assert "Leave --reward out" in said.complaint


def test_value_says_what_another_router_would_have_earned(
    arbitrage: Callable[..., Any], pristine: Path, tmp_path: Path
) -> None:
    rows = [
        (f"{tag}{i}", tag, None, teacher, reward)
        for tag in ("ar", "tr")
        for i in range(6)
        for teacher, reward in (("alpha", 1.0), ("beta", 0.0))
    ]
    pq.write_table(table_of(rows), tmp_path / "log.parquet")
    assert arbitrage("router", "fit", tmp_path / "log.parquet", "-o", tmp_path / "made").code == 0
    asked = ("router", "value", pristine, "--artefact", tmp_path / "made")
    said = arbitrage(*asked, "--reward", "language_id.match", "--json")
    assert said.code == 0, said.err
    found = orjson.loads(said.out)
    assert found["n_prompts"] == 30
    assert found["estimates"]["ips"]["value"] == pytest.approx(1.0)
    said = arbitrage(*asked, "--reward", "language_id.match")
    assert all(name in said.out for name in ("the run itself", "ips", "snips", "dr"))
    said = arbitrage(*asked, "--reward", "language_id.mach")
    assert said.code == 2
    assert 'Did you mean "language_id.match"' in said.complaint


def test_rank_says_who_leads_by_how_much_and_what_is_not_separable(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    said = arbitrage("router", "rank", log, "-o", tmp_path / "rank.md")
    assert said.code == 0
    assert "leads in tr" in said.out or "is best in tr" in said.out
    assert "Elo: mean over 100 orders" in " ".join(said.out.split())
    assert arbitrage("router", "rank", log, "-o", tmp_path / "new/rank.md").code == 0
    page = (tmp_path / "new/rank.md").read_text(encoding="utf-8")
    assert page == (tmp_path / "rank.md").read_text(encoding="utf-8")
    assert "| language | take |" in page
    found = orjson.loads(arbitrage("router", "rank", log, "--json").out)
    assert [ranking["language"] for ranking in found["ranking"]] == ["all", "ko", "tr"]
    assert found["ranking"][0]["transitivity"]["triples"] == 1
    assert found["variants"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cost", "sums"], "is not TEACHER=COST"),
        (["--cost", "sums=nan"], "is not TEACHER=COST"),
        (["--cost", "summs=1"], 'Did you mean "sums"'),
        (["--cost", "sums=1"], "no cost is given of both, tales"),
    ],
)
def test_a_wrong_cost_is_an_error(
    arbitrage: Callable[..., Any], log: Path, options: list[str], message: str
) -> None:
    said = arbitrage("router", "rank", log, *options)
    assert said.code == 2
    assert message in said.err


def test_ties_go_to_the_cheaper(arbitrage: Callable[..., Any], tmp_path: Path) -> None:
    rows = [(f"p{n:02}", "tr", "x", name, n % 2.0) for n in range(20) for name in ("dear", "cheap")]
    pq.write_table(table_of(rows), tmp_path / "even.parquet")
    costs = ["--cost", "dear=2", "--cost", "cheap=1"]
    found = orjson.loads(
        arbitrage("router", "rank", tmp_path / "even.parquet", *costs, "--json").out
    )
    assert [ranking["choice"] for ranking in found["ranking"]] == ["cheap", "cheap"]


def test_rank_reads_a_finished_run_as_well(arbitrage: Callable[..., Any], pristine: Path) -> None:
    said = arbitrage("router", "rank", pristine, "--reward", "length.words", "--json")
    assert said.code == 0, said.err
    assert "the reward is length.words" in said.err
    assert orjson.loads(said.out)["teachers"] == ["alpha", "beta"]


def test_a_language_of_the_test_that_was_not_in_the_fit_is_said(
    arbitrage: Callable[..., Any], log: Path, tmp_path: Path
) -> None:
    rows = [
        ("p", "sw", "x", "sums", 1.0),
        ("q", "az", "x", "both", 0.5),
        ("r", "tr", "x", "both", 1.0),
    ]
    pq.write_table(table_of(rows), tmp_path / "later.parquet")
    said = arbitrage("router", "evaluate", log, "--test", tmp_path / "later.parquet")
    assert said.code == 0, said.err
    heard = " ".join(said.err.split())
    assert (
        "no reward in sw in the log: the 1 prompts of the test are routed by the estimate of"
        in heard
    )
    assert "no reward in az in the log" in heard
    assert "no reward in tr in the log" not in heard


def test_fit_takes_prices_and_precisions_from_a_config(
    arbitrage: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [(f"p{n:02}", "tr", "x", name, n % 2.0) for n in range(20) for name in ("dear", "light")]
    pq.write_table(table_of(rows), tmp_path / "even.parquet")
    teachers = "\n".join(
        f'[[teachers]]\nname = "{name}"\nbackend = "openai"\nmodel = "m"\nprecision = "{bits}"\n'
        f'base_url = "http://127.0.0.1:9/v1"\ncost_per_million_tokens = {cost}\n'
        for name, bits, cost in (("dear", "bf16", 2.0), ("light", "int4", 1.0))
    )
    config = tmp_path / "run.toml"
    config.write_text(
        '[run]\nname = "x"\n[prompts]\nsource = "p.parquet"\ntext = "column:prompt"\n'
        f'language = "tr"\n{teachers}[router]\nkind = "uniform"\n',
        encoding="utf-8",
    )
    made = tmp_path / "made"
    said = arbitrage(
        "router",
        "fit",
        tmp_path / "even.parquet",
        "-o",
        made,
        "--kind",
        "fixed",
        "--config",
        config,
    )
    assert said.code == 0, said.err
    assert 'default = "light"' in (made / "router.toml").read_text(encoding="utf-8")
    page = (made / "card.md").read_text(encoding="utf-8")
    assert "## Variants of one model" in page
    assert "| `m` | `tr` | `light` | `dear` | +0 [0, 0] | not separable |" in page


def test_a_teacher_that_is_called_like_markup_is_shown_as_it_is_called(
    arbitrage: Callable[..., Any], tmp_path: Path
) -> None:
    names = ("big[awq]", "small[/b]")
    rows = [(f"p{n:02}", "tr", "x", name, n % 2.0) for n in range(20) for name in names]
    pq.write_table(table_of(rows), tmp_path / "log.parquet")
    said = arbitrage("router", "rank", tmp_path / "log.parquet")
    assert said.code == 0
    assert all(f" {name} " in said.out for name in names)

"""audit-reward from a table to its report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from arbitrage import registry
from arbitrage.config import parse_filters
from arbitrage.errors import ArbitrageError
from arbitrage.filters import scoring
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores
from arbitrage.flows.audit import audit_rewards
from arbitrage.flows.cli import app

ROWS = [
    {"prompt": "Merhaba?", "chosen": "bir iki üç", "rejected": "bir", "language": "tur_Latn"},
    {"prompt": "Nasıl?", "chosen": "bir", "rejected": "bir iki", "language": "tr"},
    {"prompt": "مرحبا؟", "chosen": "نعم يا صديقي", "rejected": "نعم", "language": "arb_Arab"},
]


class FirstPlace(Filter):
    """Gives the first answer of each prompt 1 and the others 0, whatever they say."""

    Params = FilterParams
    measures = ("score",)

    def score(self, batch: Batch) -> Scores:
        assert batch.groups is not None
        seen: set[Any] = set()
        first = [not (key in seen or seen.add(key)) for key in batch.groups]  # type: ignore[func-returns-value]
        return Scores({"score": np.array(first, np.float32)})


@pytest.fixture
def first_place() -> Iterator[None]:
    registry.filters.register("test_first_place", version=1)(FirstPlace)
    yield
    scoring.close_filters()
    del registry.filters._entries["test_first_place"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.parquet"
    pl.DataFrame(ROWS).write_parquet(path)
    return path


def test_a_reward_is_told_by_language(table: Path) -> None:
    audit = audit_rewards([table], parse_filters(["length"]), ["maximize:length.words"])
    (reward,) = audit["rewards"]
    assert set(reward["languages"]) == {"ar", "tr"}
    assert reward["languages"]["tr"]["accuracy"] == 0.5
    assert reward["languages"]["ar"]["accuracy"] == 1.0
    assert reward["orders"] == 1


def test_less_can_be_better(table: Path) -> None:
    audit = audit_rewards([table], parse_filters(["length"]), ["minimize:length.words"])
    assert audit["rewards"][0]["languages"]["ar"]["accuracy"] == 0.0


def test_a_score_that_depends_on_the_order_is_asked_in_both(table: Path, first_place: None) -> None:
    audit = audit_rewards([table], parse_filters(["test_first_place"]))
    (reward,) = audit["rewards"]
    assert reward["orders"] == 2
    assert reward["all"]["first_preferred"] == 1.0
    assert reward["all"]["accuracy"] == 0.5


def test_a_reward_without_an_order_stays_so_beside_one_that_has_it(
    table: Path, first_place: None
) -> None:
    audit = audit_rewards(
        [table],
        parse_filters(["test_first_place", "length"]),
        ["maximize:test_first_place.score", "maximize:length.words"],
    )
    assert [reward["orders"] for reward in audit["rewards"]] == [2, 1]


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "test.parquet" for folder in ("arb_Arab", "tur_Latn")]
    for path in paths:
        path.parent.mkdir()
        pl.DataFrame(ROWS).write_parquet(path)
    audit = audit_rewards(paths, parse_filters(["length"]))
    assert len(audit["files"]) == 2
    assert audit["pairs"] == 2 * len(ROWS)


def test_answers_may_be_lists_of_turns(tmp_path: Path) -> None:
    def turns(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "안녕?"}, {"role": "assistant", "content": text}]

    rows = [{"chosen": turns("네 네 네"), "rejected": turns("네"), "language": "ko"}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    audit = audit_rewards([path], parse_filters(["length"]), ["maximize:length.words"])
    assert audit["rewards"][0]["all"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": None}, 'no column "chosen"'),
        ({"language": "nonsense-tag-xx"}, "row 0"),
    ],
)
def test_a_wrong_table_is_an_error_that_says_where(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    row = {key: value for key, value in (ROWS[0] | change).items() if value is not None}
    path = tmp_path / "pairs.parquet"
    pl.DataFrame([row]).write_parquet(path)
    with pytest.raises(ArbitrageError, match=said):
        audit_rewards([path], parse_filters(["length"]))


def test_a_measure_nobody_makes_is_named_with_the_nearest(table: Path) -> None:
    with pytest.raises(ArbitrageError, match=r"length\.words"):
        audit_rewards([table], parse_filters(["length"]), ["maximize:length.word"])


def test_the_command_writes_json_markdown_and_html(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    done = CliRunner().invoke(
        app, ["audit-reward", str(table), "--filter", "length", "-o", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["audit.html", "audit.json", "audit.md"]
    stored = json.loads((out / "audit.json").read_bytes())
    assert json.loads(done.stdout) == stored
    assert {item["language"] for item in stored["agreement"]} == {"all", "ar", "tr"}
    assert "position bias: not applicable" in (out / "audit.md").read_text(encoding="utf-8")

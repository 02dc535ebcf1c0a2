"""What a dashboard is given of a finished run: stable keys, bounded sizes, nothing invented."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from arbitrage.infra.report.counts import Cell, Counts, Unroutable
from arbitrage.infra.report.dashboard import MOST_ROWS, shown
from arbitrage.infra.report.drops import drops
from arbitrage.infra.report.router_in_use import page_of, router_in_use
from arbitrage.infra.report.spending import spending

USED = {"requests": 10, "failed": 2, "completion_tokens": 900, "untold": 0, "cost_usd": 0.25}
USED |= {"request_s": 20.0, "seconds": 3.0}


@pytest.fixture
def finished(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest as `open_run` gives it."""
    entry = {"path": "candidates/part-00000.arrow", "rows": 8, "bytes": 2000}
    config = manifest["config"] | {"run": manifest["config"]["run"] | {"max_failed_share": 0.05}}
    totals = {"prompts": 7, "unroutable": 2, "requested": 8, "kept": 5, "failed": 1}
    totals |= {"chosen": 5, "rejected": 2}
    more = {"shards": [{"shard": 0, "files": [entry]}], "config": config, "totals": totals}
    return manifest | more | {"usage": {"alpha": USED, "beta": USED | {"untold": 10}}}


@pytest.fixture
def found(run: Path, finished: dict[str, Any]) -> dict[str, Any]:
    return {item.key: item.content for item in shown(run, finished, "s3://bucket/runs/demo-1")}


def test_the_keys_are_the_ones_that_the_manual_names(found: dict[str, Any]) -> None:
    manual = Path(__file__).parents[3] / "docs" / "operations.md"
    for key in found:
        assert f"`{key}`" in manual.read_text("utf-8")


def test_the_report_says_how_the_run_ended_and_where_it_is(found: dict[str, Any]) -> None:
    page = found["arbitrage-report"]
    assert "**kept 5 of 8; shortfall: 1 of 8 requested candidates failed" in page
    assert "`s3://bucket/runs/demo-1`" in page
    assert "`length.min_words` 2 (answer rejected): ar 1, zh 1" in page


def test_pictures_are_in_the_page_and_shards_have_addresses(found: dict[str, Any]) -> None:
    for key in ("arbitrage-routing", "arbitrage-scores"):
        assert "](data:image/svg+xml;base64," in found[key]
    assert "`s3://bucket/runs/demo-1`" in found["arbitrage-shards"]
    assert "| `candidates/part-00000.arrow` |" in found["arbitrage-shards"]
    assert "| `views/sft` |" in found["arbitrage-shards"]


def test_long_tables_are_cut_keep_their_total_and_say_so(
    run: Path, finished: dict[str, Any]
) -> None:
    cells = {
        (f"l{i:03d}", f"t{j}"): Cell(requested=1, kept=1) for i in range(100) for j in range(9)
    }
    finished["counts"] = Counts(cells).to_json()
    table = next(item for item in shown(run, finished, "x") if item.key == "arbitrage-table")
    assert len(table.content) == MOST_ROWS
    assert table.content[-1]["requested"] == 900
    assert "500 of 1,001 rows" in table.about


def test_tokens_per_second_are_of_the_run_and_unknown_where_nobody_told() -> None:
    rows = {
        row.teacher: row for row in spending({"usage": {"a": USED, "b": USED | {"untold": 10}}})
    }
    assert (rows["a"].tokens_per_s, rows["a"].request_s) == (300.0, 2.0)
    assert rows["b"].tokens_per_s is None
    assert (rows["all"].tokens_per_s, rows["all"].cost_usd) == (300.0, 0.5)
    assert spending({}) == []


def test_every_loss_is_in_one_line_a_reason_with_its_languages() -> None:
    lost = Cell(requested=4, rejected=2, failed=1, kept=1)
    cells = {
        ("tr", "a"): Cell(**{**_numbers(lost), "reasons": Counter({"x.y": 2})}),
        ("ar", "a"): Cell(**{**_numbers(lost), "failures": Counter({"generate.timeout": 1})}),
    }
    found = drops(Counts(cells, {"th": Unroutable(3, Counter({"route.no_teacher": 3}))}))
    assert [(d.reason, d.what, d.count, d.where) for d in found] == [
        ("route.no_teacher", "prompt not asked", 3, "th 3"),
        ("x.y", "answer rejected", 2, "tr 2"),
        ("generate.timeout", "answer failed", 1, "ar 1"),
    ]
    assert [d.share for d in found] == [1.0, 0.25, 0.125]


def _numbers(cell: Cell) -> dict[str, int]:
    return {name: getattr(cell, name) for name in ("requested", "kept", "rejected", "failed")}


def routed(place: Path, checksum: str) -> dict[str, Any]:
    params = {"artefact": str(place)}
    return {"router": {"router": "learned@1", "params": params, "artefact_sha256": checksum}}


def put(folder: Path, checksum: str, kind: str) -> None:
    training = {"rewards": 9, "prompts": 3, "languages": ["tr"], "notes": []}
    card = {"kind": kind, "sha256": checksum, "training": training, "ranking": []}
    folder.mkdir(parents=True)
    (folder / "card.json").write_bytes(orjson.dumps({**card, "settings": {}, "metrics": {}}))
    (folder / "card.md").write_text("![whatever its maker wrote](http://x)")


def test_the_card_is_that_of_the_runs_artefact_also_after_a_promotion(tmp_path: Path) -> None:
    put(tmp_path / "in-use", "new", "learned")
    put(tmp_path / "in-use" / "earlier" / "0001-old", "old", "nearest")
    new = router_in_use(routed(tmp_path / "in-use", "new"))
    assert new.startswith("# Router `learned`")
    assert "![" not in new
    assert router_in_use(routed(tmp_path / "in-use", "old")).startswith("# Router `nearest`")


def test_a_card_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(orjson.dumps({"sha256": "mine", "training": 3}))
    assert "does not hold" in router_in_use(routed(tmp_path, "mine"))


def test_an_artefact_that_is_gone_or_never_was_is_said(tmp_path: Path) -> None:
    put(tmp_path / "in-use", "another", "learned")
    assert "no longer in" in router_in_use(routed(tmp_path / "in-use", "mine"))
    assert "has no artefact" in router_in_use({"router": {"router": "uniform@1", "params": {}}})


def test_a_card_cannot_bring_html_or_links_into_the_report() -> None:
    page = page_of("# a <b>x</b>\n\n[go](http://x) <http://y> ![i](http://z)\n\n|a|\n|--|\n|1|\n")
    assert "<table>" in page
    assert "<b>" not in page
    assert "href" not in page
    assert "src=" not in page

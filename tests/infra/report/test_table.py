from __future__ import annotations

from collections import Counter
from io import StringIO

import pytest
from rich.console import Console

from arbitrage.infra.report.counts import Cell, Counts, count_shard
from arbitrage.infra.report.table import markdown_table, rich_table, table_rows


def printed(counts: Counts, width: int = 100, **options: bool) -> list[str]:
    stream = StringIO()
    Console(file=stream, width=width).print(rich_table(counts, width=width, **options))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.fixture
def large() -> Counts:
    """15 languages and 4 teachers, with long names and many reasons."""
    tags = ["ar", "bn", "de", "es", "fa", "fr", "hi", "id", "ja", "ko"]
    tags += ["pt-BR", "ru", "th", "zh-Hans", "zh-Hant-TW"]
    why = Counter({"language_confusion.min_line_pass": 1200, "length.min_words": 900, "a.b": 4})
    cell = Cell(123_456, 121_352, 100_000, 2100, 4, why, Counter({"generate.timeout": 4}))
    names = ["command-r-plus-08-2024", "gemma-3-27b-it-with-a-long-name", "qwen3-8b", "aya-32b"]
    return Counts({(tag, name): cell for tag in tags for name in names})


def test_sixty_rows_stay_on_one_line_each_at_100_columns(large):
    lines = printed(large)
    assert max(map(len, lines)) <= 100
    assert len(lines) == 60 + 4
    assert lines[0].split()[2:] == ["requested", "kept", "rejected", "failed", "why", "not", "kept"]
    assert "123,456" in lines[2]
    assert "7,407,360" in lines[-1]
    assert lines[2].endswith("more")


def test_the_total_row_adds_up(shard):
    last = printed(count_shard(*shard))[-1].split()
    assert last[:6] == ["all", "all", "8", "5", "2", "1"]


def test_subtotals_come_only_when_asked_for(shard):
    counts = count_shard(*shard)
    assert sum(row["teacher"] == "all" for row in table_rows(counts)) == 1
    assert sum(row["teacher"] == "all" for row in table_rows(counts, subtotals=True)) == 6
    assert len(printed(counts, subtotals=True)) == len(printed(counts)) + 5


def test_rows_for_an_artifact_tell_rejections_from_failures(shard):
    rows = {(row["language"], row["teacher"]): row for row in table_rows(count_shard(*shard))}
    assert rows["ar", "beta"]["rejected for"] == "length.min_words 1, toxicity.max_toxicity 1"
    assert rows["tr", "beta"]["failed for"] == "generate.timeout 1"
    assert rows["tr", "beta"]["rejected for"] == ""


def test_no_name_can_break_out_of_a_markdown_cell():
    evil = "a|b`c\n| x | <b>"
    cell = Cell(1, 0, 0, 1, 0, Counter({"f.|`": 1}))
    lines = markdown_table(Counts({("tr", evil): cell})).split("\n")
    assert len(lines) == 4
    for line in lines:
        assert line.replace("\\|", "").count("|") == 7
    assert "`a\\|b'c \\| x \\| <b>`" in lines[2]


def test_terminal_markup_in_names_is_shown_as_it_is():
    lines = printed(Counts({("tr", "[red]x[/red]\u202e"): Cell(1, 1, 1)}))
    assert "[red]x[/red]" in lines[2]


def test_nothing_at_all_is_a_table_with_a_total():
    assert printed(Counts())[-1].split()[:6] == ["all", "all", "0", "0", "0", "0"]
    assert markdown_table(Counts()).count("\n") == 2

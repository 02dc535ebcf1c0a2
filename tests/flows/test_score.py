"""`arbitrage score`: a table in, the same table with score columns out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config import parse_filters
from arbitrage.errors import ConfigError
from arbitrage.flows.score import score_file

TEXTS = {
    "ar": "الطقس جميل اليوم والشمس مشرقة في السماء",
    "hi": "आज मौसम बहुत अच्छा है और धूप खिली है",
    "ja": "今日はとても天気がいいので散歩に行きます",
    "ko": "오늘은 날씨가 아주 좋아서 산책을 갑니다",
    "ru": "Сегодня очень хорошая погода, идём гулять",
    "th": "วันนี้อากาศดีมากเราจะไปเดินเล่นกัน",
    "tr": "Bugün hava çok güzel, yürüyüşe çıkıyoruz",
    "vi": "Hôm nay thời tiết rất đẹp, chúng tôi đi dạo",
    "zh": "今天天气很好，我们去公园散步吧",
    "en": "The weather is lovely today, let us go for a walk",
}


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Every language twice, the second time with no text, and columns of the user's own."""
    rows = [*TEXTS.items(), *((tag, None) for tag in TEXTS)]
    return write(
        tmp_path / "in.parquet",
        number=pa.array(range(len(rows)), pa.int8()),
        text=pa.array([text for _, text in rows]),
        language=[tag for tag, _ in rows],
        nested=[{"tag": tag} for tag, _ in rows],
    )


def test_rows_order_and_columns_stay_and_scores_are_added(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    filters = parse_filters(["length", "language_id:shortest_letters=5"])
    assert score_file(table, out, filters) == 2 * len(TEXTS)
    before, after = pq.read_table(table), pq.read_table(out)
    assert after.select(before.column_names).equals(before)
    added = after.column_names[len(before.column_names) :]
    assert added == [
        "length.words",
        "length.characters",
        "language_id.probability",
        "language_id.match",
        "language_id.line_match",
        "language_id.language",
    ]
    kinds = [after.schema.field(name).type for name in added]
    assert kinds == [pa.float32()] * 5 + [pa.string()]
    assert after["language_id.language"].to_pylist() == [*TEXTS, *[None] * len(TEXTS)]
    assert after["length.characters"].to_pylist()[: len(TEXTS)] == list(map(len, TEXTS.values()))
    assert after["length.words"].to_pylist()[len(TEXTS) :] == [None] * len(TEXTS)


def test_an_abstention_is_null(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", text=["chào bạn", "shit"], language=["vi", "en"])
    score_file(source, tmp_path / "out.parquet", parse_filters(["toxicity"]))
    scored = pq.read_table(tmp_path / "out.parquet")["toxicity.toxicity"].to_pylist()
    assert scored == [None, 0.5]


def test_a_table_of_many_batches_is_scored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.flows.score._ROWS_AT_ONCE", 7)
    words = [" ".join(["w"] * count) for count in range(50)]
    source = write(tmp_path / "in.parquet", text=words, language=["en"] * 50)
    seen: list[tuple[int, int]] = []
    filters = parse_filters(["length"])
    score_file(source, source, filters, lambda *rows: seen.append(rows))
    assert pq.read_table(source)["length.words"].to_pylist() == list(map(float, range(50)))
    assert seen[-1] == (50, 50)
    assert len(seen) > 1


def test_what_a_run_tells_filters_a_table_may_tell_too(tmp_path: Path) -> None:
    """The columns of a run's candidates: why an answer ended, and which are samples of one."""
    long = "the cat saw the dog and the dog saw the cat " * 5
    source = write(
        tmp_path / "in.parquet",
        text=[long] * 3,
        language=["en"] * 3,
        prompt_id=["1", "1", "2"],
        teacher=["a", "a", "a"],
        finish_reason=["length", "stop", None],
    )
    filters = parse_filters(["lexical_diversity", "truncation"])
    score_file(source, tmp_path / "out.parquet", filters)
    scored = pq.read_table(tmp_path / "out.parquet")
    same, other, alone = scored["lexical_diversity.distinct_1"].to_pylist()
    assert same == other
    assert alone is None or alone != same
    assert scored["truncation.cut"].to_pylist() == [1.0, 0.0, None]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"texts": ["a"], "language": ["en"]}, 'no column "text"'),
        ({"text": ["a"]}, 'no column "language"'),
        ({"text": [1], "language": ["en"]}, "int64, not string"),
        ({"text": ["a", "b"], "language": ["en", "klingonese"]}, 'row 1 .*"klingonese"'),
        ({"text": ["a", "b"], "language": ["en", None]}, "row 1 .*missing"),
        ({"text": ["a"], "language": ["en"], "length.words": [1.0]}, "already has the column"),
    ],
)
def test_what_cannot_be_scored_is_said_and_nothing_is_written(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    source = write(tmp_path / "in.parquet", **columns)
    with pytest.raises(ConfigError, match=message):
        score_file(source, tmp_path / "out.parquet", parse_filters(["length"]))
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_text_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    broken = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    source = write(tmp_path / "in.parquet", text=broken, language=["en"])
    with pytest.raises(ConfigError, match="UTF8"):
        score_file(source, tmp_path / "out.parquet", parse_filters(["length"]))


def test_an_empty_table_stays_empty_and_gets_its_columns(tmp_path: Path) -> None:
    nothing = pa.array([], pa.string())
    source = write(tmp_path / "in.parquet", text=nothing, language=nothing)
    assert score_file(source, tmp_path / "out.parquet", parse_filters(["length"])) == 0
    assert "length.words" in pq.read_table(tmp_path / "out.parquet").column_names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["lenght"], 'Did you mean "length"'),
        (["length:min_word=3"], 'Did you mean "min_words"'),
        (["length", "length"], "given twice"),
        (["length:3"], "not KEY=VALUE"),
        (["language_id:shortest_letters=none"], "shortest_letters"),
    ],
)
def test_a_wrong_filter_option_names_the_right_ones(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_filters(options)


def test_the_command_prints_the_table_it_wrote(
    arbitrage: Callable[..., Any], table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    result = arbitrage("score", str(table), "-o", str(out), "--filter", "length")
    assert result.code == 0
    assert str(out) in result.out
    assert arbitrage("score", str(table), "-o", str(out)).code == 2


def duplicates(path: Path, table: dict[str, Any], *params: str) -> dict[str, list[Any]]:
    """The near_duplicate columns of a table, by their last names."""
    source = write(path / "in.parquet", **table)
    filters = parse_filters(["length", ":".join(["near_duplicate", ",".join(params)])])
    score_file(source, path / "out.parquet", filters)
    scored = pq.read_table(path / "out.parquet")
    assert sorted(file.name for file in path.iterdir()) == ["in.parquet", "out.parquet"]
    return {name: scored[f"near_duplicate.{name}"].to_pylist() for name in ("exact", "of")}


def test_a_filter_over_the_whole_run_takes_the_file_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies stand further apart than what is read at once; a row is named by its number."""
    monkeypatch.setattr("arbitrage.flows.score._ROWS_AT_ONCE", 3)
    texts = [*TEXTS.values(), None, *TEXTS.values()]
    languages = [*TEXTS, "en", *TEXTS]
    found = duplicates(tmp_path, {"text": texts, "language": languages})
    assert found["exact"] == [0] * 10 + [None] + [1] * 10
    assert found["of"] == [None] * 11 + [str(row) for row in range(10)]


def test_samples_of_a_prompt_and_ids_are_taken_from_the_file_where_it_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.flows.score._ROWS_AT_ONCE", 1)
    table = {
        "text": [TEXTS["th"]] * 3,
        "language": ["th"] * 3,
        "prompt_id": ["p", "p", "q"],
        "teacher": ["t"] * 3,
        "candidate_id": ["x", "y", "z"],
    }
    found = duplicates(tmp_path, table, 'within_prompt="ignore"')
    assert (found["exact"], found["of"]) == ([0, 0, 1], [None, None, "x"])
    del table["prompt_id"]
    found = duplicates(tmp_path, table, 'within_prompt="ignore"')
    assert (found["exact"], found["of"]) == ([0, 1, 1], [None, "x", "x"])

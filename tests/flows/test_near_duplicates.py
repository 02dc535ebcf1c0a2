"""A filter over the whole run, on the whole way: shards, kills, earlier runs, decisions again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from arbitrage.errors import ArbitrageError, DamagedRunError
from arbitrage.filters.near_duplicate import NearDuplicate
from arbitrage.flows.preview import preview_prompts
from arbitrage.flows.redecide import redecide
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.run import Run, attach
from arbitrage.infra.store.verify import verify_run

SIMILARITY, EXACT, OF = (f"near_duplicate.{name}" for name in ("similarity", "exact", "of"))
MEASURED = ["prompt_id", "teacher", "sample_index", SIMILARITY, EXACT, OF]
PER_LANGUAGE = 4


@pytest.fixture(scope="module")
def data(run_configs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """40 prompts in ten languages. alpha says the same to every second prompt of a language, and
    nearly the same, with one word more at the end, to the others; beta has words of its own."""
    folder = tmp_path_factory.mktemp("duplicates")
    made: dict[str, Any] = run_configs.replay_data(folder, per_language=PER_LANGUAGE)

    def said(prompt_id: str, language: str, teacher: str) -> str:
        number = int(prompt_id.rpartition("-")[2])
        if teacher == "beta":
            chance = random.Random(prompt_id)
            return " ".join(f"{language}{chance.randrange(10**6)}" for _ in range(30))
        same = " ".join([run_configs.TEXTS[language]] * 3)
        return same if number % 2 else f"{same} ok"

    rows = run_configs.prompt_rows(PER_LANGUAGE)
    recorded = [
        {
            "prompt_id": row["prompt_id"],
            "teacher": teacher,
            "sample_index": 0,
            "completion": said(row["prompt_id"], row["language"], teacher),
        }
        for row in rows
        for teacher in run_configs.TEACHERS
    ]
    pl.DataFrame(recorded, schema_overrides={"sample_index": pl.Int16}).write_parquet(
        folder / "recordings.parquet"
    )
    made["filters"] = {"length": {}, "near_duplicate": {"max_exact": 0}}
    made["select"] = {}
    made["views"] = {"sft": {}}
    return made


@pytest.fixture(scope="module")
def run(
    run_configs: ModuleType, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run that the others are compared with; no test may change it."""
    return finished(run_configs, data, tmp_path_factory.mktemp("runs"))


def finished(configs: ModuleType, data: dict[str, Any], output: Path, **changes: Any) -> Path:
    config = configs.parsed(data, run__output=str(output), **changes)
    path: Path = configs.run_steps(config, f"run-{len(list(output.iterdir()))}")
    return path


def measured(path: Path) -> list[dict[str, Any]]:
    frame = open_run(path).candidates.select(MEASURED).collect()
    return frame.sort(MEASURED[:3]).to_dicts()


def test_duplicates_are_found_across_shards_in_every_language(run: Path) -> None:
    """Of alpha's four answers the first is new, the second near it, the others exact copies."""
    assert verify_run(run).problems == []
    rows = open_run(run).candidates.collect()
    ids = dict(rows.select(pl.concat_str("prompt_id", "teacher"), "candidate_id").iter_rows())
    assert open_run(run).shards == 6
    for row in rows.to_dicts():
        language, number = row["prompt_id"].rsplit("-", 1)
        if row["teacher"] == "beta" or number == "0":
            assert (row[SIMILARITY], row[EXACT], row[OF]) == (0, 0, None)
        elif number == "1":
            assert 0.7 <= row[SIMILARITY] < 1
            assert (row[EXACT], row[OF]) == (0, ids[f"{language}-0alpha"])
        else:
            first = ids[f"{language}-{int(number) - 2}alpha"]
            assert (row[SIMILARITY], row[EXACT], row[OF]) == (1, 1, first)
        exact = row[EXACT] == 1
        assert row["kept"] is not exact
        assert row["reasons"] == (["near_duplicate.duplicate"] if exact else [])


@pytest.mark.parametrize("shard_size", [1, 10, 1000])
def test_the_shard_size_makes_no_difference(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, shard_size: int
) -> None:
    other = finished(run_configs, data, tmp_path, run__shard_size=shard_size)
    assert measured(other) == measured(run)


def test_the_order_in_which_shards_are_done_makes_no_difference(
    run: Path,
    run_configs: ModuleType,
    data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shards are scored in a shuffled order, then the usual steps pass over what is there."""
    from arbitrage.tasks.score import score_candidates

    config = run_configs.parsed(data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "shuffled", upto="generated")
    order = list(range(6))
    random.Random(3).shuffle(order)
    attach.cache_clear()
    for shard in order:
        score_candidates(str(path), shard)
    monkeypatch.setattr(NearDuplicate, "sketch", None)  # nothing is measured twice
    run_configs.run_steps(config, "shuffled")
    assert measured(path) == measured(run)


@pytest.mark.parametrize("upto", ["scored", "matched", "merged", "decided"])
def test_a_run_goes_on_after_each_step_with_the_same_scores(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, upto: str
) -> None:
    config = run_configs.parsed(data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "stepwise", upto=upto)
    run_configs.run_steps(config, "stepwise")
    assert verify_run(path).problems == []
    assert run_configs.stable_rows(path) == run_configs.stable_rows(run)


def test_a_process_that_dies_while_matching_is_continued(
    run: Path,
    run_configs: ModuleType,
    data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three shards of six have their columns, and the copy of all sketches is left behind."""
    config = run_configs.parsed(data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "torn", upto="scored")
    commit = Run.commit_matched

    def die(self: Run, name: str, shard: int, columns: Any) -> None:
        commit(self, name, shard, columns)
        if shard == 2:
            raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit_matched", die)
        with pytest.raises(SystemExit):
            run_configs.run_steps(config, "torn")
    left = path / layout.SKETCHES / "whole"
    left.mkdir()
    (left / "near_duplicate.signature.npy").write_bytes(b"torn")
    run_configs.run_steps(config, "torn")
    assert run_configs.stable_rows(path) == run_configs.stable_rows(run)


def test_deciding_before_matching_is_refused(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    from arbitrage.tasks.decide import merge_moments

    config = run_configs.parsed(data, run__output=str(tmp_path))
    path = run_configs.run_steps(config, "early", upto="scored")
    with pytest.raises(DamagedRunError, match="were not compared"):
        merge_moments.fn(str(path), 6)


def test_a_new_threshold_measures_nothing_and_a_new_measure_does(
    run: Path, run_configs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(NearDuplicate, "sketch", None)
        patch.setattr(NearDuplicate, "match", None)
        lenient = redecide(run, overrides=["filters.near_duplicate.max_exact=1"])
        strict = redecide(run, overrides=["filters.near_duplicate.max_similarity=0.7"])
    assert measured(lenient) == measured(strict) == measured(run)
    kept = {path: verify_run(path).total("kept") for path in (lenient, run, strict)}
    assert list(kept.values()) == [80, 80 - 20, 80 - 30]
    apart = redecide(run, overrides=["filters.near_duplicate.lowest_similarity=0.99"])
    assert verify_run(apart).problems == []
    found = open_run(apart).candidates.collect()
    assert set(found[SIMILARITY]) == {0, 1}
    assert redecided_exact(apart) == redecided_exact(run)


def redecided_exact(path: Path) -> list[float]:
    return [row[EXACT] for row in measured(path)]


def test_a_filter_added_later_measures_as_it_would_have_at_once(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    without = finished(run_configs, data, tmp_path, filters__near_duplicate=None)
    again = redecide(without, overrides=["filters.near_duplicate.max_exact=0"])
    assert run_configs.stable_rows(again) == run_configs.stable_rows(run)


def test_candidates_of_earlier_runs_count_wherever_their_shards_end(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    changes = {"filters__near_duplicate__runs": [str(run)], "run__shard_size": 9}
    again = finished(run_configs, data, tmp_path, **changes)
    earlier = open_run(run)
    ids = earlier.candidates.collect()["candidate_id"].to_list()
    rows = open_run(again).candidates.collect()
    assert set(rows[EXACT]) == set(rows[SIMILARITY]) == {1.0}
    assert {name.split("/")[0] for name in rows[OF]} == {earlier.manifest["run_id"]}
    assert {name.split("/")[1] for name in rows[OF]} < set(ids)
    assert verify_run(again).total("kept") == 0
    whole = finished(run_configs, data, tmp_path, **changes | {"run__shard_size": 1000})
    assert measured(whole) == measured(again)


def test_a_run_that_is_not_there_is_said_before_anything_is_asked(
    run_configs: ModuleType, data: dict[str, Any], tmp_path: Path, arbitrage: Callable[..., Any]
) -> None:
    from arbitrage.tasks.matching import check_earlier

    nowhere = str(tmp_path / "nowhere")
    config = run_configs.parsed(data, filters__near_duplicate__runs=[nowhere])
    with pytest.raises(ArbitrageError, match="not a finished run"):
        check_earlier(config)
    changed = run_configs.changed(data, {"filters.near_duplicate.runs": [nowhere]})
    toml = run_configs.write_toml(tmp_path / "run.toml", changed)
    said = arbitrage("check", toml)
    assert said.code == 2
    assert "not a finished run" in said.out + said.err


def test_its_measures_may_be_weighted(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    """z-scores need the mean over all shards, which is known after matching only; and the same
    whether they were measured in the run or before."""
    changes = {
        "select__objective": {"length.words": 1.0, SIMILARITY: -2.0},
        "select__per_prompt": 1,
        "filters__near_duplicate__max_exact": None,
    }
    weighted = finished(run_configs, data, tmp_path, **changes)
    chosen = open_run(weighted).candidates.filter("chosen").collect()
    assert chosen.height == 40
    later = chosen.filter(~pl.col("prompt_id").str.ends_with("-0"))
    assert set(later["teacher"]) == {"beta"}
    again = redecide(weighted)
    assert run_configs.stable_rows(again) == run_configs.stable_rows(weighted)


def test_a_preview_compares_its_few_candidates(
    run: Path, run_configs: ModuleType, data: dict[str, Any]
) -> None:
    config = run_configs.parsed(data, filters__near_duplicate__runs=[str(run)])
    shown = list(preview_prompts(config, 3))
    assert {row[EXACT] for one in shown for row in one.candidates} == {1.0}
    alone = list(preview_prompts(run_configs.parsed(data), 3))
    assert {row[EXACT] for one in alone for row in one.candidates} == {0.0}


@pytest.mark.usefixtures("prefect_server")
def test_with_prefect_and_two_shards_at_a_time_it_is_the_same(
    run: Path, run_configs: ModuleType, data: dict[str, Any], tmp_path: Path
) -> None:
    from arbitrage.flows.distill import distill

    config = run_configs.parsed(data, run__output=str(tmp_path))
    assert measured(Path(distill(config))) == measured(run)
